"""Changed."""

import testbed

testbed.Simple("first", 2)
