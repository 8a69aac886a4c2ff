"""The middle."""

import testbed

testbed.Simple("b", "a-1x")
