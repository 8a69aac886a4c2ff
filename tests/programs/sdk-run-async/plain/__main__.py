"""Registers a function that is not asynchronous."""

import pulumi

pulumi.run(lambda: {"a": 1})
