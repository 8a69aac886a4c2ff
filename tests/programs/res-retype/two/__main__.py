"""Of another type."""

import testbed
from pulumi import ResourceOptions

made = testbed.Named("made", name="a")
testbed.Simple("under", 1, opts=ResourceOptions(parent=made))
