"""Another name: it and what takes its name are made anew."""

import testbed
from pulumi import ResourceOptions

first = testbed.Named("first", name="b", deleteFirst=True)
falls = testbed.Named("falls", name=first.name)
stays = testbed.Simple("stays", first.value)
after = testbed.Simple("after", "x", opts=ResourceOptions(depends_on=[first]))
