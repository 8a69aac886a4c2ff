"""A chain of resources, each made when the one before is known."""

import pulumi

names = pulumi.Stash("names", input=["a", "b"])


def after(value):
    first = pulumi.Stash("item-a", input=value[0])
    return first.output.apply(lambda v: pulumi.Stash("nested", input=[v]).output)


pulumi.export("made", names.output.apply(after))
