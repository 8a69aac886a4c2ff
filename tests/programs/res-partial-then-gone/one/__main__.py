"""Half."""

import testbed

first = testbed.Failing("first", "1", fails="partial-create")
testbed.Simple("last", first.value)
