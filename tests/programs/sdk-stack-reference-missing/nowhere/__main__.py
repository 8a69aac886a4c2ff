"""Names a stack that is not there."""

import pulumi

pulumi.export("x", pulumi.StackReference("organization/no-project/no-stack").get_output("x"))
