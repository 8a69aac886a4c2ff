"""Made."""

import testbed

a = testbed.Named("a", name="n")
testbed.Simple("b", a.id)
testbed.Named("c", name=a.id)
