"""Leaves with success before the second resource."""

import sys

import pulumi

pulumi.Stash("a", input=1)
pulumi.export("n", 2)
sys.exit(0)
