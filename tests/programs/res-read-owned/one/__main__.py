"""Made."""

import testbed

first = testbed.Simple("first", 1)
testbed.Simple("uses", first.value)
