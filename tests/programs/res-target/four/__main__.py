"""And again."""

import testbed

first = testbed.Simple("first", 4)
second = testbed.Simple("second", first.value)
testbed.Simple("third", second.value)
testbed.Simple("other", 4)
