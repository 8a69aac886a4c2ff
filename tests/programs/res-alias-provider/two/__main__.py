"""Another name."""

import testbed
from pulumi import Alias, ResourceOptions

own = testbed.Provider("mine", prefix="p", opts=ResourceOptions(aliases=[Alias(name="own")]))
testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
testbed.Simple("b", 1, opts=ResourceOptions(provider=own))
