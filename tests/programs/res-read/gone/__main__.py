"""Does not."""

import testbed

testbed.Simple("uses", 8)
