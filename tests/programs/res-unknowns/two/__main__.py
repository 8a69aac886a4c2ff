"""Changed."""

import testbed
from pulumi import export

made = testbed.Computed("made", "b")
testbed.Simple("uses", made.computed)
testbed.Named("named", 1, name=made.computed)
testbed.Simple("deep", {"a": [made.computed, 1], "b": made.computed.apply(len)})
testbed.Computed("on", made.computed)
export("computed", made.computed)
export("known", made.value)
