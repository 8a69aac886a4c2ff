"""Raises."""

import pulumi


class Part(pulumi.ComponentResource):
    """Made by the plugin parts."""

    label: pulumi.Output[str]
    doubled: pulumi.Output[int]

    def __init__(self, name, opts=None, kind="Part", **props):
        outputs = {"stored": None, "doubled": None, "last": None}
        super().__init__(f"parts:index:{kind}", name, {**outputs, **props}, opts, remote=True)


Part("early", kind="Broken", reason="badly")
