"""Before."""

import testbed

for form in ("detailed", "none-detailed", "unknown"):
    testbed.Simple(f"same-{form}", 1, diff=form)
    testbed.Simple(f"changed-{form}", {"a": 1, "l": [1, 1]}, diff=form)
    testbed.Named(f"replaced-{form}", name=1, diff=form)
