"""Replaced again, against what the provider says."""

import testbed
from pulumi import ResourceOptions

made = testbed.Named("made", name="c", deleteFirst=True, opts=ResourceOptions(delete_before_replace=False))
testbed.Named("child", name="c", opts=ResourceOptions(parent=made))
