"""Raises."""

raise RuntimeError("nothing works")
