"""Made."""

import testbed

testbed.Simple("taken", 7)
testbed.Simple("after", 1)
