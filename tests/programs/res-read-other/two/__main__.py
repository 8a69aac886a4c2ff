"""The second."""

import testbed

found = testbed.Secretive.get("found", "found-2")
testbed.Simple("uses", found.token)
