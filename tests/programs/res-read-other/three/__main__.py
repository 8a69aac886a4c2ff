"""What was just made."""

import testbed
from pulumi import ResourceOptions

made = testbed.Computed("made", "found-2")
found = testbed.Secretive.get("found", made.computed.apply(lambda text: text[:7]))
testbed.Simple("uses", found.value, opts=ResourceOptions(depends_on=[found]))
