"""As plain as day."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("made", "1", opts=ResourceOptions(replacement_trigger={"k": "b"}))
