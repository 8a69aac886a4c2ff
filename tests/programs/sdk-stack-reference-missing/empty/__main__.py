"""Nothing to read."""
