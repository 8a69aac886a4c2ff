"""The first is to be deleted before it is replaced."""

import testbed
from pulumi import ResourceOptions

first = testbed.Named("first", name="a", deleteFirst=True)
falls = testbed.Named("falls", name=first.name)
stays = testbed.Simple("stays", first.value)
after = testbed.Simple("after", "x", opts=ResourceOptions(depends_on=[first]))
