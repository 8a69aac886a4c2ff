"""Renamed, and changed in vain."""

import testbed
from pulumi import Alias, ResourceOptions

a = testbed.Failing("new", 2, fails="update", opts=ResourceOptions(aliases=[Alias(name="old")]))
testbed.Simple("uses", a.id)
