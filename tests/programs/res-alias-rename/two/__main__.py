"""Renamed, moved under another, out of a parent, typed anew."""

import testbed
from pulumi import ROOT_STACK_RESOURCE, Alias, ResourceOptions

parent = testbed.Group("parent2", opts=ResourceOptions(aliases=[Alias(name="parent")]))
testbed.Simple("child2", opts=ResourceOptions(parent=parent, aliases=[Alias(name="child")]))
testbed.Simple(
    "a2", opts=ResourceOptions(aliases=["urn:pulumi:dev::res-alias-rename::testbed:index:Simple::a"])
)
testbed.Simple("lone", opts=ResourceOptions(parent=parent, aliases=[Alias(parent=ROOT_STACK_RESOURCE)]))
testbed.Computed("t", opts=ResourceOptions(aliases=[Alias(type_="testbed:index:Simple")]))
