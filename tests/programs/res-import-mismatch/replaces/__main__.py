"""What forces another one."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("other", 8, opts=ResourceOptions(import_="found-2"))
testbed.Named("taken", name="b", opts=ResourceOptions(import_="found-1"))
