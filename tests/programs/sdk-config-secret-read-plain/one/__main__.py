"""Reads one secret both ways."""

import pulumi

config = pulumi.Config()
pulumi.export("leaked", config.require("token"))
pulumi.export("kept", config.require_secret("token"))
pulumi.Stash("both", input={"leaked": config.get("token"), "kept": config.get_secret("token")})
