"""Whole."""

import testbed

first = testbed.Failing("first", "1", fails="")
testbed.Simple("last", first.value)
