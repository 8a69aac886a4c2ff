"""A secret."""

import testbed
from pulumi import Output, ResourceOptions

seed = testbed.Computed("seed", "1")
testbed.Simple("made", "1", opts=ResourceOptions(replacement_trigger=Output.secret("c")))
testbed.Simple("bound", "1", opts=ResourceOptions(replacement_trigger=seed.computed))
