"""Counted."""

import testbed
from pulumi import export

made = testbed.Counter("made", 1)
testbed.Simple("uses", made.reads)
export("reads", made.reads)
