"""Half updated."""

import testbed

first = testbed.Failing("first", "2", fails="partial-update")
testbed.Simple("last", first.value)
