"""All."""

import testbed
from pulumi import Output, export

said = testbed.secret(a="x")
export("open", said["open"])
export("hidden", said["hidden"])
testbed.Simple("takes", said["hidden"])
export("all", testbed.secret(a=Output.secret("y")))
made = testbed.Secretive("made", "z")
testbed.Simple("of", testbed.echo(a=made.token)["a"])
