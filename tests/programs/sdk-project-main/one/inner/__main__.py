"""Says where it runs."""

import os
import pathlib

import helper
import pulumi

pulumi.export("folder", os.path.basename(os.getcwd()))
pulumi.export("root is parent", os.path.samefile(pulumi.get_root_directory(), ".."))
pulumi.export("helped", helper.VALUE)
pulumi.export("data", pathlib.Path("data.txt").read_text(encoding="utf-8"))
