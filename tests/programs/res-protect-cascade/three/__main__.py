"""No protection of that one. `alone` comes first: else it is a race whether it is protected in time."""

import testbed
from pulumi import ResourceOptions

alone = testbed.Simple("alone", opts=ResourceOptions(protect=True))
a = testbed.Named("a", name="m", deleteFirst=True, opts=ResourceOptions(depends_on=[alone]))
testbed.Named("falls", name=a.name)
