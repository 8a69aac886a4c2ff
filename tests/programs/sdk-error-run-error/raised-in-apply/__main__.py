"""Raises in an apply that nobody waits for."""

import pulumi

before = pulumi.Stash("before", input=1)


def fail(_):
    raise ValueError("in the apply")


before.output.apply(fail)
