"""Changed."""

import testbed
from pulumi import ResourceOptions

for name in ["with space", "slash/es", "ünï", "a::b", "dollar$", 'quote"s', "x" * 200]:
    made = testbed.Simple(name, 2)
    testbed.Simple(f"uses {name}", made.id, opts=ResourceOptions(parent=made))
