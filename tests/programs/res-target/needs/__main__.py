"""What is targeted needs what is not there."""

import testbed

first = testbed.Simple("first", 4)
second = testbed.Simple("second", first.value)
testbed.Simple("third", second.value)
testbed.Simple("other", 4)
new = testbed.Simple("new")
testbed.Simple("needs", new.id)
