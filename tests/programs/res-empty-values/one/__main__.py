"""Empty."""

import testbed

testbed.Simple("a", "")
testbed.Simple("b", [])
testbed.Simple("c", {})
testbed.Simple("d")
testbed.Simple("e", 0)
testbed.Simple("f", False)
testbed.Simple("g", [None, {"a": None}, [], {}])
