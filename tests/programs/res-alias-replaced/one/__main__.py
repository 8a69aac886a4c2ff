"""Before."""

import testbed

a = testbed.Named("old", name="a")
testbed.Simple("uses", a.id)
