"""Secrets."""

import testbed
from pulumi import Config, Output, ResourceOptions

own = testbed.Provider("own", prefix=Output.secret("p"), token=Config().require_secret("word"))
testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
testbed.Simple("b", 1)
