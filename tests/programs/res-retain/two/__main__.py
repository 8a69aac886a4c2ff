"""Replaced."""

import testbed
from pulumi import ResourceOptions

testbed.Named("kept", name="b", opts=ResourceOptions(retain_on_delete=True))
