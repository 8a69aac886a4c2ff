"""Dynamic resources without dependencies: as many as the configuration says."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Echo(ResourceProvider):
    """Makes nothing, at once."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"id-{props['number']}", {"number": props["number"]})


class Thing(Resource):
    def __init__(self, name: str, number: int) -> None:
        super().__init__(Echo(), name, {"number": number})


for number in range(pulumi.Config().require_int("count")):
    Thing(f"thing-{number}", number)
