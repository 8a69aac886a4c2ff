"""Anew."""

import testbed
from pulumi import ResourceOptions

testbed.Failing("a", 1, opts=ResourceOptions(replace_on_changes=["#initerror"]))
