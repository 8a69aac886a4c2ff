"""An invoke."""

import testbed
from pulumi import export

export("said", testbed.echo(a=1)["a"])
