"""Another value."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("other", 8, opts=ResourceOptions(import_="found-2"))
