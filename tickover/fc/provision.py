"""The reserved pool of an alias: target, idle switch, timetable, load-following.

Owns: `ProvisionConfig`, `ScheduledAction`, `TargetTrackingPolicy`. Promises: FC's names and limits. Never:
reads a schedule expression (`tickover.schedule` does, where both are known).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field, StrictBool

from tickover.fc.alias import MovingQualifier
from tickover.fc.base import FcModel, Wire
from tickover.fc.function import FunctionName
from tickover.fc.limits import Choice, Number, Text, Whole

MAX_TARGET: Final = 10000
MAX_ACTIONS: Final = 100
METRICS: Final = (
    "ProvisionedConcurrencyUtilization",
    "CPUUtilization",
    "GPUMemUtilization",
    "GPUSmUtilization",
    "GPUEncoderUtilization",
    "GPUDecoderUtilization",
)
Target = Annotated[int, Whole(0, MAX_TARGET)]
PolicyName = Annotated[str, Text(1, 128)]
# A moment: UTC with Z, or local to timeZone without. `tickover.schedule` reads it.
Moment = Annotated[
    str | None,
    Text(
        1,
        32,
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z?",
        "be yyyy-mm-ddThh:mm:ss, with a Z at the end where no timeZone is given",
    ),
]


def _window(wire: Wire) -> Iterator[tuple[str, str]]:
    start, end = wire.get("startTime"), wire.get("endTime")
    if start and end and start.endswith("Z") == end.endswith("Z") and end <= start:
        yield "endTime", f"must be after startTime {start}, but is {end}"


class ScheduledAction(FcModel):
    """target is in force from a firing of the expression to the next one, inside the window."""

    name: PolicyName
    start_time: Moment = None
    end_time: Moment = None
    target: Target
    schedule_expression: Annotated[
        str,
        Text(
            1,
            256,
            r"\s*(at|cron)\s*\(.*\)\s*",
            "be at(yyyy-mm-ddThh:mm:ss) or cron(seconds minutes hours day-of-month month day-of-week)",
        ),
    ]
    time_zone: Annotated[str | None, Text(1, 64)] = None

    rules = (_window,)


def _ordered_capacity(wire: Wire) -> Iterator[tuple[str, str]]:
    low, high = wire.get("minCapacity"), wire.get("maxCapacity")
    if low is not None and high is not None and high < low:
        yield "maxCapacity", f"must be at least minCapacity {low}, but is {high}"


class TargetTrackingPolicy(FcModel):
    """metric_target: the utilisation, above 0 up to 1, that the pool is sized for."""

    name: PolicyName
    start_time: Moment = None
    end_time: Moment = None
    metric_type: Annotated[str, Choice(*METRICS)]
    metric_target: Annotated[float, Number("0.01", "1")]
    min_capacity: Target
    max_capacity: Target
    time_zone: Annotated[str | None, Text(1, 64)] = None

    rules = (_window, _ordered_capacity)


def _one_spelling(wire: Wire) -> Iterator[tuple[str, str]]:
    target, default = wire.get("target"), wire.get("defaultTarget")
    if target is not None and default is not None and target != default:
        yield "target", f"is the old spelling of defaultTarget and must equal it ({default}), but is {target}"


def _names_and_counts(wire: Wire) -> Iterator[tuple[str, str]]:
    for kind in ("scheduledActions", "targetTrackingPolicies"):
        policies = wire.get(kind) or ()
        if len(policies) > MAX_ACTIONS:
            yield kind, f"must have at most {MAX_ACTIONS} entries, but has {len(policies)}"
        seen: set[str] = set()
        for index, policy in enumerate(policies):
            name = policy.get("name", "") if isinstance(policy, dict) else ""
            if name and name in seen:
                yield f"{kind}[{index}].name", f"must not repeat the name {name!r}"
            seen.add(name)


class ProvisionConfig(FcModel):
    """Reserved instances. always_allocate_gpu and _cpu False: idle instances give them up (idle billing)."""

    function_name: FunctionName
    qualifier: MovingQualifier
    default_target: Target | None = None
    target: Target | None = None
    always_allocate_cpu: StrictBool | None = Field(default=None, alias="alwaysAllocateCPU")
    always_allocate_gpu: StrictBool | None = Field(default=None, alias="alwaysAllocateGPU")
    scheduled_actions: list[ScheduledAction] | None = None
    target_tracking_policies: list[TargetTrackingPolicy] | None = None

    rules = (_one_spelling, _names_and_counts)
    in_path = frozenset({"functionName", "qualifier"})
    defaults = {"alwaysAllocateCPU": True, "alwaysAllocateGPU": True}  # noqa: RUF012 - typed in FcModel

    @property
    def reserved(self) -> int:
        """Instances outside every schedule, whichever spelling was used."""
        given = self.target if self.default_target is None else self.default_target
        return given or 0
