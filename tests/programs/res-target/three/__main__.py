"""All changed again."""

import testbed

first = testbed.Simple("first", 3)
second = testbed.Simple("second", first.value)
testbed.Simple("third", second.value)
testbed.Simple("other", 3)
