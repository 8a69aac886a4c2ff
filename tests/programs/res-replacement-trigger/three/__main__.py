"""Another."""

import testbed
from pulumi import ResourceOptions

seed = testbed.Computed("seed", "1")
testbed.Simple("made", "1", opts=ResourceOptions(replacement_trigger={"k": ["b"]}))
testbed.Simple("bound", "1", opts=ResourceOptions(replacement_trigger=seed.computed))
