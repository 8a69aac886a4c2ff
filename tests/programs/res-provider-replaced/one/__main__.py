"""Its own provider."""

import testbed
from pulumi import ResourceOptions

provider = testbed.Provider("own", prefix="a")
first = testbed.Simple("first", "1", opts=ResourceOptions(provider=provider))
testbed.Named("second", "1", name="n", opts=ResourceOptions(provider=provider))
testbed.Simple("last", first.value)
