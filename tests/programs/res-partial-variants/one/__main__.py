"""Half."""

import testbed

testbed.Failing("a", 1, fails="partial-create")
