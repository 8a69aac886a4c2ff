"""After."""

import testbed
from pulumi import Alias, ResourceOptions

new = testbed.Group("new", kind="Heap")
testbed.Simple(
    "of",
    opts=ResourceOptions(
        parent=new, aliases=[Alias(parent="urn:pulumi:dev::res-alias-parents::testbed:index:Group::old")]
    ),
)
testbed.Simple("to", opts=ResourceOptions(parent=new, aliases=[Alias(parent=None)]))
testbed.Simple(
    "other",
    opts=ResourceOptions(
        aliases=[Alias(name="under", parent="urn:pulumi:dev::res-alias-parents::testbed:index:Group::old")]
    ),
)
testbed.Simple(
    "out",
    opts=ResourceOptions(
        aliases=["urn:pulumi:dev::res-alias-parents::testbed:index:Group$testbed:index:Simple::out"]
    ),
)
