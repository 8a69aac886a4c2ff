"""A chain."""

import testbed

a = testbed.Simple("a", "x")
b = testbed.Simple("b", a.id)
testbed.Simple("c", b.id)
