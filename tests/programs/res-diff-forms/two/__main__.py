"""Changed."""

import testbed

for form in ("detailed", "none-detailed", "unknown"):
    testbed.Simple(f"same-{form}", 1, diff=form)
    testbed.Simple(f"changed-{form}", {"a": 2, "l": [1, 2]}, diff=form)
    testbed.Named(f"replaced-{form}", name=2, diff=form)
