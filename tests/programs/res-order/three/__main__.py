"""Only the first stays."""

import testbed

testbed.Simple("first", "2")
