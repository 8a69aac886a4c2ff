"""No provider of its own."""

import testbed

testbed.Simple("first", "1")
testbed.Simple("second", "1")
