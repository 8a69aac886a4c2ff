"""The package has no such function."""

import pulumi

pulumi.export("unknown", pulumi.runtime.invoke_output("tools:index:nothing", {"a": 1}))
