"""Another one is replaced."""

import testbed
from pulumi import ResourceOptions

host = testbed.Named("host", name="b")
testbed.Simple("guest", "2", opts=ResourceOptions(deleted_with=host))
testbed.Named("other", name="y", opts=ResourceOptions(deleted_with=host))
