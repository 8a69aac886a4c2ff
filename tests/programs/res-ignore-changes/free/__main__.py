"""Nothing is ignored any more."""

import testbed

testbed.Simple("path", 2)
testbed.Simple("nested", {"a": 2, "b": 2, "l": [2, 2]})
testbed.Simple("every", {"a": 2, "b": {"c": 2}}, other=2)
testbed.Simple("inner", {"a": {"k": 2}, "b": {"k": 2}})
testbed.Simple("absent", 2)
testbed.Named("named", 2, name="n2")
testbed.Simple("both", 2)
