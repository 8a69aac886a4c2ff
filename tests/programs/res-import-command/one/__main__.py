"""A parent."""

import testbed

testbed.Group("group")
