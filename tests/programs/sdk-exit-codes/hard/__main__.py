"""Ends the process at once."""

import os

import pulumi

pulumi.export("n", 4)
os._exit(0)
