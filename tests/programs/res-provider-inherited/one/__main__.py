"""A tree."""

import testbed
from pulumi import InvokeOptions, ResourceOptions, export

outer = testbed.Provider("outer", prefix="outer")
inner = testbed.Provider("inner", prefix="inner")
top = testbed.Group("top", opts=ResourceOptions(providers=[outer]))
below = testbed.Group("below", opts=ResourceOptions(parent=top))
deep = testbed.Group("deep", opts=ResourceOptions(parent=top, providers={"testbed": inner}))
testbed.Simple("a", 1, opts=ResourceOptions(parent=below))
b = testbed.Simple("b", 2, opts=ResourceOptions(parent=deep))
testbed.Simple("c", 3, opts=ResourceOptions(parent=b))
testbed.Simple("d", 4, opts=ResourceOptions(parent=b, provider=outer))
testbed.Simple("e", 5)
export("default", testbed.echo(a=1)["prefix"])
export("parent", testbed.echo(a=1, opts=InvokeOptions(parent=below))["prefix"])
export("own", testbed.echo(a=1, opts=InvokeOptions(provider=inner))["prefix"])
