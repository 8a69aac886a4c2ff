"""One turns red."""

import pulumi

pulumi.Stash("advised", input="a long text")
pulumi.Stash("fine", input="red")
