"""A transform that raises stops the registration."""

import pulumi


def fail(args):
    raise RuntimeError("the transform gave up")


pulumi.Stash("alone", input=["own"], opts=pulumi.ResourceOptions(transforms=[fail]))
