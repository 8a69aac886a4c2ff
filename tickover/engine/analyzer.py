"""Policy packs as the engine uses them: resources in, violations out.

Owns: the form in which resources go to packs, asking all packs of an operation together. Promises: no
pack outlives the context; violations come sorted. Never: knows a rule, decides what a violation means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import analyzer_pb2

from tickover.engine import wire
from tickover.engine.plan import PolicyViolation
from tickover.engine.policyconfig import (
    PolicyFile,
    check_names,
    default_policy_config,
    effective,
    load_policy_file,
)
from tickover.engine.policypack import Pack, PackRun, open_pack
from tickover.engine.urn import parse_urn, split_reference
from tickover.engine.values import PropertyMap


@dataclass(frozen=True, slots=True)
class AnalyzedResource:
    """A resource as policies see it. properties: inputs for `analyze`, outputs for `analyze_stack`.

    provider: ``urn::id`` of its provider resource, empty for components.
    """

    urn: str
    type: str
    name: str
    properties: PropertyMap = field(default_factory=dict)
    provider: str = ""
    parent: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool = False


class PolicyPacks:
    """The packs of one operation, asked together; their violations sorted by URN, pack and policy."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self._packs = tuple(packs)

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        paths: Sequence[Path],
        *,
        project: str,
        stack: str,
        dry_run: bool,
        config: Mapping[str, str] | None = None,
        policy_config: Path | None = None,
    ) -> AsyncIterator[PolicyPacks]:
        """Run the packs in paths, configured by policy_config, or each by its ``config/<stack>.json``.

        config: the stack's configuration, ``namespace:key`` -> text. Raises ConfigError, TickoverError.
        """
        run = PackRun(project, stack, dry_run, dict(config or {}))
        named = load_policy_file(policy_config) if policy_config is not None else None
        async with AsyncExitStack() as stack_of_packs:
            started = await asyncio.gather(*(open_pack(path, run) for path in paths), return_exceptions=True)
            packs = [p for p in started if isinstance(p, Pack)]
            for pack in packs:
                stack_of_packs.push_async_callback(pack.close)
            for outcome in started:
                if isinstance(outcome, BaseException):
                    raise outcome
            await _configure(packs, run, named)
            yield cls(packs)

    @property
    def names(self) -> tuple[str, ...]:
        """``name@version`` of each pack, in the order given."""
        return tuple(f"{p.name}@{p.version}" for p in self._packs)

    @property
    def policies(self) -> tuple[str, ...]:
        """The names of all policies, pack by pack."""
        return tuple(policy.name for pack in self._packs for policy in pack.policies)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the packs, in the order given."""
        return tuple(p.pid for p in self._packs)

    async def analyze(self, resource: AnalyzedResource) -> tuple[PolicyViolation, ...]:
        """What the packs say of one resource's inputs, before its step."""
        request = analyzer_pb2.AnalyzeRequest(
            type=resource.type,
            urn=resource.urn,
            name=resource.name,
            properties=_encode(resource.properties),
            options=_options(resource),
            provider=_provider(resource, {}),
        )
        found = await asyncio.gather(*(p.analyze(request) for p in self._packs))
        return _sorted(found)

    async def analyze_stack(self, resources: Sequence[AnalyzedResource]) -> tuple[PolicyViolation, ...]:
        """What the packs say of the whole stack."""
        by_urn = {r.urn: r for r in resources}
        request = analyzer_pb2.AnalyzeStackRequest(
            resources=[
                analyzer_pb2.AnalyzerResource(
                    type=r.type,
                    urn=r.urn,
                    name=r.name,
                    properties=_encode(r.properties),
                    options=_options(r),
                    provider=_provider(r, by_urn),
                    parent=r.parent,
                    dependencies=r.dependencies,
                    propertyDependencies={
                        key: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns)
                        for key, urns in r.property_dependencies.items()
                    },
                )
                for r in resources
            ]
        )
        found = await asyncio.gather(*(p.analyze_stack(request) for p in self._packs))
        return _sorted(found)


async def _configure(packs: Sequence[Pack], run: PackRun, named: PolicyFile | None) -> None:
    if named is not None:
        check_names(named, (p.name for pack in packs for p in pack.policies))
    for pack in packs:
        file = named
        if file is None:
            path = default_policy_config(pack.folder, run.stack)
            file = load_policy_file(path) if path else PolicyFile(f"{pack.name}: policy config")
            check_names(file, (p.name for p in pack.policies))
        await pack.configure(effective(pack.policies, pack.initial, file))


# --- values --------------------------------------------------------------------------------------


def _encode(properties: PropertyMap) -> Struct:
    return wire.encode(properties, keep_resources=False)  # the policy SDK knows no references


def _options(resource: AnalyzedResource) -> analyzer_pb2.AnalyzerResourceOptions:
    return analyzer_pb2.AnalyzerResourceOptions(protect=resource.protect, parent=resource.parent)


def _provider(
    resource: AnalyzedResource, known: Mapping[str, AnalyzedResource]
) -> analyzer_pb2.AnalyzerProviderResource | None:
    if not resource.provider:
        return None
    urn, _ = split_reference(resource.provider)
    parsed = parse_urn(urn)
    properties = known[urn].properties if urn in known else {}
    return analyzer_pb2.AnalyzerProviderResource(
        type=parsed.type, urn=urn, name=parsed.name, properties=_encode(properties)
    )


def _sorted(found: Sequence[Sequence[PolicyViolation]]) -> tuple[PolicyViolation, ...]:
    every = (violation for of_pack in found for violation in of_pack)
    return tuple(sorted(every, key=lambda v: (v.urn, v.pack, v.policy, v.message)))
