"""Replaced."""

import testbed

a = testbed.Named("a", name="m")
testbed.Simple("b", a.id)
testbed.Named("c", name=a.id)
