"""ReservedPool: instances kept started, billed as idle while nobody asks.

Owns: the ProvisionConfig of an alias. Promises: a reason for a pool without idle billing is kept in the
state, where policies look for it. Never: decides how many instances run now (FC and the host do).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from tickover.errors import ConfigError
from tickover.provider.resources import ProvisionConfig

from .checks import at_most_one
from .function import GpuFunction
from .schedule import Schedule


@dataclass(frozen=True, slots=True)
class ReservedPoolArgs:
    """instances: reserved outside every schedule.

    idle: True gives CPU and GPU up while nothing is in flight, for a small fee. False keeps them, at full
    price around the clock, and should say why in `reason`.
    """

    function: GpuFunction
    instances: int = 1
    idle: bool = True
    reason: str = ""
    schedules: tuple[Schedule, ...] = ()


class ReservedPool(pulumi.ComponentResource):
    """Reserved instances of a function's live alias. current: how many are up."""

    def __init__(self, name: str, args: ReservedPoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _check(name, args)
        declared: dict[str, Any] = {"instances": args.instances, "idle": args.idle}
        if args.reason:
            declared["reason"] = args.reason
        super().__init__("tickover:index:ReservedPool", name, declared, opts)
        actions = [action for schedule in args.schedules for action in schedule.wire_actions]
        optional = {"scheduled_actions": actions} if actions else {}
        self.provision = ProvisionConfig(
            name,
            pulumi.ResourceOptions(parent=self),
            function_name=args.function.function_name,
            qualifier=args.function.alias_name,
            default_target=args.instances,
            always_allocate_cpu=not args.idle,
            always_allocate_gpu=not args.idle,
            **optional,
        )
        self.current: pulumi.Output[int] = self.provision.current
        # Outputs repeat what was declared: stack policies see outputs, and look for `reason` there.
        self.register_outputs(declared)


def _check(name: str, args: ReservedPoolArgs) -> None:
    at_most_one(name, idle=args.idle, reason=args.reason)
    if args.instances < 0:
        raise ConfigError(
            "bad-pool",
            "Pool is not valid",
            f"{name}: `instances` must not be negative, but is {args.instances}.",
            address=name,
        )
