"""The other."""

import testbed

b = testbed.Simple("b", "x")
a = testbed.Simple("a", b.id)
testbed.Simple("c", a.id)
