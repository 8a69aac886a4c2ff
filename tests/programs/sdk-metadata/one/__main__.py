"""Exports what the runtime says about itself."""

import os

import pulumi

pulumi.export("organization", pulumi.get_organization())
pulumi.export("project", pulumi.get_project())
pulumi.export("stack", pulumi.get_stack())
pulumi.export("dry", pulumi.runtime.is_dry_run())
pulumi.export("root", os.path.samefile(pulumi.get_root_directory(), os.getcwd()))
pulumi.export("urn", pulumi.create_urn("child", "a:b:C"))
pulumi.Stash("names", input=f"{pulumi.get_project()}/{pulumi.get_stack()}")
