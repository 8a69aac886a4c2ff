"""A version that does not exist."""

import pulumi

pulumi.require_pulumi_version(">=99.0.0")
pulumi.export("ran", False)
