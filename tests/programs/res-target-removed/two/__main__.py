"""One."""

import testbed

testbed.Simple("other", 2)
