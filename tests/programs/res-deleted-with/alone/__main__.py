"""Only the host."""

import testbed

testbed.Named("host", name="b")
