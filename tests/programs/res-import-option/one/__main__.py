"""As it is."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("taken", 7, opts=ResourceOptions(import_="found-1"))
