"""Its own provider."""

import testbed
from pulumi import ResourceOptions

own = testbed.Provider("own", word="p")
a = testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
testbed.Simple("b", a.id)
