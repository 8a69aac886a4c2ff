"""No import."""

import testbed

testbed.Simple("taken", 8)
