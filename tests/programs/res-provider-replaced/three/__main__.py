"""One more setting, a secret one."""

import testbed
from pulumi import Output, ResourceOptions

provider = testbed.Provider("own", prefix="b", token=Output.secret("t"))
first = testbed.Simple("first", "1", opts=ResourceOptions(provider=provider))
testbed.Named("second", "1", name="n", opts=ResourceOptions(provider=provider))
testbed.Simple("last", first.value)
