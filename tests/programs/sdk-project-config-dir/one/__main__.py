"""Exports one key and whether the stack file is where the project says."""

import os

import pulumi

pulumi.export("a", pulumi.Config().require_int("a"))
pulumi.export("here", os.path.exists(f"Pulumi.{pulumi.get_stack()}.yaml"))
pulumi.export("there", os.path.exists(f"stacks/Pulumi.{pulumi.get_stack()}.yaml"))
