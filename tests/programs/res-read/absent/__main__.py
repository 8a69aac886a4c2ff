"""Looks up what is not there."""

import testbed

testbed.Simple.get("found", "nothing-1")
