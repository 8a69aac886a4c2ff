"""The one."""

import testbed

testbed.Simple("old")
