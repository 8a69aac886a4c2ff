"""Refused before it is tried."""

import testbed
from pulumi import ResourceOptions, export

bad = testbed.Failing("bad", fails="check")
testbed.Simple("needs", opts=ResourceOptions(depends_on=[bad]))
testbed.Simple("takes", bad.value)
good = testbed.Simple("good")
testbed.Simple("after", good.id)
export("good", good.id)
