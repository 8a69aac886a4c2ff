"""What the pack repairs."""

import pulumi

pulumi.Stash("plain", input={"text": "x"})
pulumi.Stash("tagged", input={"text": "x", "tag": "own"})
pulumi.Stash("hidden", input={"hide": "hush"})
made = pulumi.Stash("late", input={"text": pulumi.Output.secret("closed")})
pulumi.export("tag", made.output)
