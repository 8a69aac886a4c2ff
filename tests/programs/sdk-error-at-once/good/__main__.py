"""Exports."""

import pulumi

pulumi.export("good", True)
