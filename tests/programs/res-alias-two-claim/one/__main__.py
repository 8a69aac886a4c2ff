"""The one that is claimed."""

import testbed

testbed.Simple("old")
