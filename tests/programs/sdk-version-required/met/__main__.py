"""Any third version."""

import pulumi

pulumi.require_pulumi_version(">=3.0.0 <4.0.0")
pulumi.export("ran", True)
