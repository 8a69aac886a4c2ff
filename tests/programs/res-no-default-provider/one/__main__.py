"""By default."""

import testbed

testbed.Simple("a", 1)
