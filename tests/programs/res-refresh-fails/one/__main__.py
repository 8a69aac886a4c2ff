"""Not to be read."""

import testbed

testbed.Failing("bad", fails="read")
testbed.Simple("good")
