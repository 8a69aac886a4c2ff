"""Resources of a provider in the engine's own process: as many as BENCH_COUNT says."""

from __future__ import annotations

import os

import pulumi


class Thing(pulumi.CustomResource):
    def __init__(self, name: str, number: int) -> None:
        super().__init__("test:index:Thing", name, {"token": None, "number": number, "note": f"of {name}"})


for number in range(int(os.environ["BENCH_COUNT"])):
    Thing(f"thing-{number}", number)
