"""The same; `other` comes last, because it fails: else it is a race what else is done."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first", 1)
second = testbed.Simple("second", first.id)
third = testbed.Simple("third", second.id)
testbed.Simple("other", 1, opts=ResourceOptions(depends_on=[third]))
