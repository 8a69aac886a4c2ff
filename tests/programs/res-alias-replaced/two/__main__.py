"""Renamed and to be replaced."""

import testbed
from pulumi import Alias, ResourceOptions

a = testbed.Named("new", name="b", opts=ResourceOptions(aliases=[Alias(name="old")]))
testbed.Simple("uses", a.id)
