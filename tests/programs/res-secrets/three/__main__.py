"""Less secret."""

import testbed
from pulumi import Config, Output, export

config = Config()
made = testbed.Secretive("made", config.require_secret("word"))
testbed.Simple("takes", made.token)
testbed.Simple("more", "b")
testbed.Simple("deep", {"a": ["x", config.require_secret("word")], "b": 1})
testbed.Simple("nested", {"a": "b"})
export("token", made.token)
export("open", Output.unsecret(made.token))
