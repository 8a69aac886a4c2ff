"""Not to be updated."""

import testbed

first = testbed.Failing("first", "2", fails="update")
testbed.Simple("last", first.value)
