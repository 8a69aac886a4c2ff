"""Four."""

import testbed

first = testbed.Simple("first", 1)
second = testbed.Simple("second", first.id)
testbed.Simple("third", second.id)
testbed.Simple("other", 1)
