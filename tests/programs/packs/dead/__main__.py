"""A pack that does not start."""

raise SystemExit("this pack does not start")
