"""All changed, and one more."""

import testbed

first = testbed.Simple("first", 2)
second = testbed.Simple("second", first.value)
testbed.Simple("third", second.value)
testbed.Simple("other", 2)
testbed.Simple("new")
