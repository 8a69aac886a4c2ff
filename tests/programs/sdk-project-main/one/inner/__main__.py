"""Says where it runs."""

import os

import helper
import pulumi

pulumi.export("folder", os.path.basename(os.getcwd()))
pulumi.export("root is parent", os.path.samefile(pulumi.get_root_directory(), ".."))
pulumi.export("helped", helper.VALUE)
pulumi.export("data", open("data.txt", encoding="utf-8").read())
