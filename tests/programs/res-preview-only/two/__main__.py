"""One."""

import testbed

testbed.Simple("a", 2)
