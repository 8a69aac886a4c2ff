"""The host is replaced."""

import testbed
from pulumi import ResourceOptions

host = testbed.Named("host", name="b")
testbed.Simple("guest", "1", opts=ResourceOptions(deleted_with=host))
testbed.Named("other", name="x", opts=ResourceOptions(deleted_with=host))
