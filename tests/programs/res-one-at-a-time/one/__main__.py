"""Four."""

import testbed

for name in "badc":
    testbed.Simple(name, 1)
