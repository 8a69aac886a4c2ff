"""Not to be checked."""

import testbed

first = testbed.Failing("first", "2", fails="check")
testbed.Simple("last", first.value)
