"""Uses the declared key."""

import pulumi

pulumi.export("size", pulumi.Config().require_int("size"))
