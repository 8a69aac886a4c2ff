"""Read."""

import testbed

first = testbed.Simple.get("first", "first-1")
testbed.Simple("uses", first.value)
