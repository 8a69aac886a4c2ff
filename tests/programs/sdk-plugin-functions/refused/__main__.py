"""The function answers with failures."""

import pulumi

pulumi.export("refused", pulumi.runtime.invoke_output("tools:index:refuse", {"a": 1}))
