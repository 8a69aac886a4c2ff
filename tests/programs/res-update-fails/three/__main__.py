"""Updated."""

import testbed

first = testbed.Failing("first", "2", fails="")
testbed.Simple("last", first.value)
