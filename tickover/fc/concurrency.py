"""The upper bound of a function's instances.

Owns: `ConcurrencyConfig`. Promises: FC's names and limits. Never: counts instances.
"""

from __future__ import annotations

from typing import Annotated

from tickover.fc.base import FcModel
from tickover.fc.function import FunctionName
from tickover.fc.limits import Whole


class ConcurrencyConfig(FcModel):
    """reserved_concurrency: instances at most; FC allows up to 90 % of the region's quota."""

    function_name: FunctionName
    reserved_concurrency: Annotated[int, Whole(0, 10000)]

    in_path = frozenset({"functionName"})
