"""What is not there."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("taken", 7, opts=ResourceOptions(import_="nothing-1"))
