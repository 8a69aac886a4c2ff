"""Logs."""

import pulumi

item = pulumi.Stash("item", input=1)
for stream in (0, 7):
    pulumi.log.debug("quiet", item, stream)
    pulumi.log.info("said \u00e9 of the item", item, stream)
    pulumi.log.info("gone at once", item, stream, ephemeral=True)
    pulumi.log.warn("careful", item, stream)
pulumi.info("no resource")
pulumi.warn("")
pulumi.info("many\nlines\n\n")
