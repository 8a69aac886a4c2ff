"""Leaves with a number."""

import sys

import pulumi

pulumi.Stash("a", input=1)
pulumi.export("n", 3)
sys.exit(3)
