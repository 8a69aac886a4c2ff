"""Another value."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("taken", 8, opts=ResourceOptions(import_="found-1"))
