"""The host is deleted first."""

import testbed
from pulumi import ResourceOptions

host = testbed.Named("host", name="b", deleteFirst=True)
testbed.Simple("guest", opts=ResourceOptions(deleted_with=host))
testbed.Named("takes", name=host.name, opts=ResourceOptions(deleted_with=host))
testbed.Simple("after", opts=ResourceOptions(deleted_with=host, depends_on=[host]))
