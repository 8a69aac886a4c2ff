"""Alike, but not the same."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("made", 1)
second = testbed.Named("made", name="x", opts=ResourceOptions(depends_on=[first]))
third = testbed.Simple("made", 1, opts=ResourceOptions(parent=testbed.Group("group"), depends_on=[second]))
testbed.Simple("made", 1, opts=ResourceOptions(parent=testbed.Group("heap", kind="Heap"), depends_on=[third]))
