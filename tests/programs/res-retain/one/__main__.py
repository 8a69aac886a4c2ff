"""One to be left."""

import testbed
from pulumi import ResourceOptions

testbed.Named("kept", name="a", opts=ResourceOptions(retain_on_delete=True))
