"""What triggers the bound one changes."""

import testbed
from pulumi import ResourceOptions

seed = testbed.Computed("seed", "2")
testbed.Simple("made", "1", opts=ResourceOptions(replacement_trigger=None))
testbed.Simple("bound", "1", opts=ResourceOptions(replacement_trigger=seed.computed))
