"""Exports typed config that the project file declares."""

import pulumi

config = pulumi.Config()
pulumi.export("count", config.require_int("count"))
pulumi.export("names", config.require_object("names"))
pulumi.export("on", config.require_bool("on"))
pulumi.export("optional", config.get("optional"))
