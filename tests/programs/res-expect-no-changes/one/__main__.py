"""One."""

import testbed

testbed.Simple("first", 1)
