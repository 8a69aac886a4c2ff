"""Replaced."""

import testbed
from pulumi import ResourceOptions

made = testbed.Named("made", name="b", opts=ResourceOptions(delete_before_replace=True))
testbed.Named("child", name="c", opts=ResourceOptions(parent=made))
