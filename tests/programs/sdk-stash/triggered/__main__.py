"""The trigger changes: the stash takes its input again."""

import pulumi

other = pulumi.Stash("other", input="after", opts=pulumi.ResourceOptions(replacement_trigger=2))
pulumi.export("other", other.output)
