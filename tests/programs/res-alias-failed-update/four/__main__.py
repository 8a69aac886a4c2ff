"""Renamed back, and the rest cannot be checked."""

import testbed
from pulumi import Alias, ResourceOptions

a = testbed.Failing("old", 3, opts=ResourceOptions(aliases=[Alias(name="new")]))
testbed.Failing("uses", a.id, fails="check")
