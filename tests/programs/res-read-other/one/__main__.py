"""The first."""

import testbed

found = testbed.Simple.get("found", "found-1")
testbed.Simple("uses", found.value)
