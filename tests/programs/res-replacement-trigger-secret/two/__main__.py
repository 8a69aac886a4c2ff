"""Another."""

import testbed
from pulumi import Output, ResourceOptions

testbed.Simple("made", "1", opts=ResourceOptions(replacement_trigger=Output.secret({"k": "b"})))
