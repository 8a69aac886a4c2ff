"""Three."""

import testbed

a = testbed.Simple("a", "x")
testbed.Simple("b", a.id)
testbed.Simple("other", 1)
