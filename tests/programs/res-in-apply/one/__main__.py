"""Two of them."""

import testbed
from pulumi import ResourceOptions

seed = testbed.Computed("seed", "a")
seed.computed.apply(lambda text: testbed.Simple(f"from {text}", text))
seed.value.apply(lambda text: testbed.Simple(f"of {text}", text, opts=ResourceOptions(parent=seed)))
