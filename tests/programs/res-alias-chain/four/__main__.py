"""The fourth, with another type of parent."""

import testbed
from pulumi import ROOT_STACK_RESOURCE, Alias, ResourceOptions

group = testbed.Group("group")
a = testbed.Simple("c", opts=ResourceOptions(parent=group, aliases=[Alias(parent=ROOT_STACK_RESOURCE)]))
testbed.Simple("child", a.id, opts=ResourceOptions(parent=a))
