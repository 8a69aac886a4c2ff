"""The first."""

import testbed
from pulumi import ResourceOptions

seed = testbed.Computed("seed", "1")
testbed.Simple("made", "1", opts=ResourceOptions(replacement_trigger="a"))
testbed.Simple("bound", "1", opts=ResourceOptions(replacement_trigger=seed.computed))
