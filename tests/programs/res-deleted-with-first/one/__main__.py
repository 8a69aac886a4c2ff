"""Three that go with the host."""

import testbed
from pulumi import ResourceOptions

host = testbed.Named("host", name="a", deleteFirst=True)
testbed.Simple("guest", opts=ResourceOptions(deleted_with=host))
testbed.Named("takes", name=host.name, opts=ResourceOptions(deleted_with=host))
testbed.Simple("after", opts=ResourceOptions(deleted_with=host, depends_on=[host]))
