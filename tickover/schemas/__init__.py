"""The JSON Schemas of what tickover writes for machines.

Owns: access to the schema files beside it. Promises: draft 2020-12, one file a format, named as published.
Never: validates.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final

NAMES: Final = ("events", "plan", "savedplan")


def schema_text(name: str) -> str:
    """The text of a schema file. name: one of `NAMES`."""
    return (resources.files(__name__) / f"{name}.schema.json").read_text("utf-8")


def schema(name: str) -> dict[str, Any]:
    """The schema as JSON."""
    parsed: dict[str, Any] = json.loads(schema_text(name))
    return parsed
