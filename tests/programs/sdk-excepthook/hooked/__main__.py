"""Sets a hook, then raises."""

import sys

import pulumi


def quiet(kind, value, trace):
    print("hooked", kind.__name__)


sys.excepthook = quiet
pulumi.Stash("a", input=1)
raise KeyError("lost")
