"""It would be deleted."""

import testbed

testbed.Simple("other")
