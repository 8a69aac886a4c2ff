"""Deleted first by option."""

import testbed
from pulumi import ResourceOptions

made = testbed.Named("made", name="a", opts=ResourceOptions(delete_before_replace=True))
testbed.Named("child", name="c", opts=ResourceOptions(parent=made))
