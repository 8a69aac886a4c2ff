"""Changed, and said to be stable."""

import testbed
from pulumi import export

made = testbed.Computed("made", "c", name="n", stables=["computed", "name"])
testbed.Simple("uses", made.computed)
testbed.Named("stays", 1, name=made.id)
testbed.Named("named", 1, name=made.name)
export("computed", made.computed)
