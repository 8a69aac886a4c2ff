"""The published version of a function.

Owns: `FunctionVersion`. Promises: a version is never changed. Never: numbers versions (FC does).
"""

from __future__ import annotations

from typing import Annotated

from tickover.fc.base import FcModel
from tickover.fc.function import FunctionName
from tickover.fc.limits import Text


class FunctionVersion(FcModel):
    """A snapshot of code and config, not of triggers or pools."""

    function_name: FunctionName
    description: Annotated[str | None, Text(0, 256)] = None

    in_path = frozenset({"functionName"})
