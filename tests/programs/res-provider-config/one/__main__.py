"""By default."""

import testbed
from pulumi import export

testbed.Simple("first", 1)
export("said", testbed.echo(a=1))
