"""Ignored."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("third", 8, opts=ResourceOptions(import_="found-2", ignore_changes=["value"]))
