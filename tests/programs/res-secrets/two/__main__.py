"""Changed."""

import testbed
from pulumi import Config, Output, ResourceOptions, export

config = Config()
made = testbed.Secretive("made", config.require_secret("word"))
testbed.Simple("takes", made.token)
testbed.Simple("more", "b", opts=ResourceOptions(additional_secret_outputs=["value", "nothing"]))
testbed.Simple("deep", {"a": ["x", config.require_secret("word")], "b": 1})
testbed.Simple("nested", Output.secret({"a": Output.secret("b")}))
export("token", made.token)
export("open", Output.unsecret(made.token))
