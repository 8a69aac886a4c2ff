"""Aborts."""

import testbed
from pulumi import InvokeOutputOptions, Output, export

made = testbed.Computed("made", "b")
export("known", testbed.echo(a=1, b=made.value)["b"])
export("unknown", testbed.echo(a=made.computed)["a"])
export("secret", testbed.echo(a=Output.secret("s"), b=2))
said = testbed.echo(a="x", opts=InvokeOutputOptions(depends_on=[made]))
testbed.Simple("after", said["a"])
testbed.Simple("takes", testbed.echo(a=made.computed)["a"])
export("x", testbed.fail())
