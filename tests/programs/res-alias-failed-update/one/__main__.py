"""Before."""

import testbed

a = testbed.Failing("old", 1)
testbed.Simple("uses", a.id)
