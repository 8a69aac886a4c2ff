"""Changed."""

import testbed

for name in "badc":
    testbed.Simple(name, 2)
