"""Twice."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("made", 1)
testbed.Simple("made", 2, opts=ResourceOptions(depends_on=[first]))
