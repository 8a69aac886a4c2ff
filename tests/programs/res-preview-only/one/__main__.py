"""Two."""

import testbed

a = testbed.Simple("a", 1)
testbed.Simple("b", a.value)
