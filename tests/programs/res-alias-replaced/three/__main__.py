"""Again, and deleted first."""

import testbed
from pulumi import Alias, ResourceOptions

a = testbed.Named(
    "last", name="c", opts=ResourceOptions(aliases=[Alias(name="new")], delete_before_replace=True)
)
testbed.Simple("uses", a.id)
