"""The published JSON Schemas, for validating what tests make."""

from __future__ import annotations

import functools
from typing import Any

from jsonschema import Draft202012Validator

from tickover.schemas import schema


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    Draft202012Validator.check_schema(schema(name))
    return Draft202012Validator(schema(name))


def validate(name: str, value: Any) -> None:
    """Raises with every mistake that value has by the schema of that name."""
    found = [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(value)]
    assert not found, "\n".join(found[:10])
