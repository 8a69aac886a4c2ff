"""Replaced."""

import testbed
from pulumi import ResourceOptions

testbed.Failing("first", "2", fails="", opts=ResourceOptions(replace_on_changes=["value"]))
