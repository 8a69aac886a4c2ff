"""`import`: existing objects taken into a stack without a program that declares them.

Owns: what is to be taken in, and its run. Promises: reads only; nothing else of the stack changes; what is in
the state already is refused. Never: changes a real object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi.runtime.proto import resource_pb2

from tickover.engine.events import PhaseStarted, PlanReady
from tickover.engine.goal import Goal, package_of
from tickover.engine.phases import Run, assembled
from tickover.engine.plan import Plan
from tickover.engine.planorder import ordered
from tickover.engine.state import ResourceState
from tickover.engine.urn import STACK_TYPE, is_provider_type, make_urn, parse_urn, stack_urn
from tickover.errors import ConfigError, TickoverError

if TYPE_CHECKING:
    from tickover.engine.operation import Operation


@dataclass(frozen=True, slots=True)
class Import:
    """One object. parent, provider: names of `names`, or URNs; empty for the stack and the default one."""

    type: str
    name: str
    id: str
    parent: str = ""
    provider: str = ""
    version: str = ""
    download_url: str = ""
    protect: bool = True
    logical_name: str = ""
    component: bool = False

    @property
    def label(self) -> str:
        return self.logical_name or self.name


@dataclass(frozen=True, slots=True)
class Imports:
    """names: short names for URNs, as an import file has them."""

    resources: tuple[Import, ...]
    names: Mapping[str, str] = field(default_factory=dict)


async def rehearse(op: Operation, imports: Imports) -> Plan:
    """What would be taken in. The objects are read."""
    op.emit(PhaseStarted(op.clock(), "planning"))
    async with AsyncExitStack() as cleanup:
        run = assembled(op, True, cleanup, True)
        await _take_in(run, imports)
    outputs = op.stack_outputs()
    plan = op.plan_of(ordered(run.deployer.entries), outputs=outputs, old_outputs=outputs)
    op.plan = plan
    op.emit(PlanReady(op.clock(), plan))
    return plan


async def perform(op: Operation, imports: Imports) -> tuple[ResourceState, ...]:
    """Take the objects in; the states they have now."""
    op.emit(PhaseStarted(op.clock(), "applying"))
    await op.reset_providers()
    async with AsyncExitStack() as cleanup:
        run = assembled(op, False, cleanup, True)
        return await _take_in(run, imports)


async def _take_in(run: Run, imports: Imports) -> tuple[ResourceState, ...]:
    op, program = run.op, run.program
    stack = stack_urn(program.stack, program.project)
    name = parse_urn(stack).name
    await run.registrar.register(resource_pb2.RegisterResourceRequest(type=STACK_TYPE, name=name))
    urns = dict(imports.names)
    taken = []
    for item in imports.resources:
        try:
            goal = await _goal(run, item, urns, stack)
            urns[item.name] = goal.urn
            if goal.urn in run.prior.live:
                raise ConfigError(
                    "exists", "Resource is in the state already", "It cannot be imported once more.", goal.urn
                )
            taken.append(await run.deployer.take_in(goal))
        except TickoverError as error:
            op.failures.add(error.address or item.label, error)
    return tuple(taken)


async def _goal(run: Run, item: Import, urns: Mapping[str, str], stack: str) -> Goal:
    parent = urns.get(item.parent, item.parent) or stack
    known = parent == stack or parent in run.prior.live or parent in run.deployer.entries
    if not known:
        raise ConfigError("unknown-parent", "Unknown parent", f"The stack has no {item.parent}.", item.label)
    urn = make_urn(run.program.stack, run.program.project, parent, item.type, item.label)
    provider = ""
    if not item.component and not is_provider_type(item.type):
        provider = await _provider(run, item, urns)
    return Goal(
        urn=urn,
        type=item.type,
        name=item.label,
        custom=not item.component,
        parent=parent,
        provider=provider,
        protect=item.protect,
        import_id=item.id,
    )


async def _provider(run: Run, item: Import, urns: Mapping[str, str]) -> str:
    if not item.provider:
        return await run.registrar.default_provider(
            package_of(item.type), item.version, item.download_url, ""
        )
    urn = urns.get(item.provider, item.provider)
    entry = run.prior.providers.live(urn)
    if entry is None:
        raise ConfigError("unknown-provider", "Unknown provider", f"The stack has no {urn}.", item.label)
    await run.op.providers.handle_for_run(entry)
    return f"{entry.urn}::{entry.id}"


def imports_of(document: Mapping[str, object], protect: bool) -> Imports:
    """The imports of a file as Pulumi reads it: nameTable, resources. Raises ConfigError."""
    names = document.get("nameTable") or {}
    resources = document.get("resources")
    if not isinstance(names, dict) or not isinstance(resources, Sequence) or isinstance(resources, str):
        raise ConfigError("bad-import-file", "Import file is not valid", "It needs `resources`, a list.")
    found = []
    for index, raw in enumerate(resources):
        if not isinstance(raw, dict) or not raw.get("type") or not raw.get("name"):
            raise ConfigError(
                "bad-import-file",
                "Import file is not valid",
                "It needs type and name.",
                f"resources[{index}]",
            )
        if not raw.get("id") and not raw.get("component"):
            raise _bad("It needs an id.", index)
        found.append(
            Import(
                type=str(raw["type"]),
                name=str(raw["name"]),
                id=str(raw.get("id") or ""),
                parent=str(raw.get("parent") or ""),
                provider=str(raw.get("provider") or ""),
                version=str(raw.get("version") or ""),
                download_url=str(raw.get("pluginDownloadUrl") or ""),
                protect=protect,
                logical_name=str(raw.get("logicalName") or ""),
                component=bool(raw.get("component")),
            )
        )
    return Imports(tuple(found), {str(k): str(v) for k, v in names.items()})


def _bad(why: str, index: int) -> ConfigError:
    return ConfigError("bad-import-file", "Import file is not valid", why, f"resources[{index}]")
