"""Otherwise empty."""

import testbed

testbed.Simple("a")
testbed.Simple("b", {})
testbed.Simple("c", [])
testbed.Simple("d", "")
testbed.Simple("e", False)
testbed.Simple("f", 0)
testbed.Simple("g", [None, {}, [], {"a": None}])
