"""Half changed."""

import testbed

testbed.Failing("a", 2, fails="partial-update")
