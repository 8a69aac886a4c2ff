"""To fail in its deletion."""

import testbed
from pulumi import ResourceOptions, export

bad = testbed.Failing("bad", fails="delete")
testbed.Simple("needs", opts=ResourceOptions(depends_on=[bad]))
testbed.Simple("takes", bad.value)
good = testbed.Simple("good")
testbed.Simple("after", good.id)
export("good", good.id)
