"""Policy packs as the engine uses them: resources in, remedies and violations out.

Owns: the form in which resources go to packs, asking all packs of an operation together, their processes
across its phases. Promises: no pack outlives the context; remedies are applied in the order of the packs;
violations come sorted. Never: knows a rule, decides what a violation means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
    paired_files,
)
from tickover.engine.policypack import ANSWER_SECONDS, ORGANIZATION, Pack, PackRun, open_pack
from tickover.engine.urn import parse_urn, split_reference
from tickover.engine.values import Archive, Asset, PropertyMap, PropertyValue, Secret
from tickover.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AnalyzedResource:
    """A resource as policies see it. properties: inputs for `analyze`, outputs for `analyze_stack`.

    provider: ``urn::id`` of its provider resource, empty for components; provider_inputs: what that one was
    declared with. aliases: URNs. custom_timeouts: create, update, delete, read -> seconds.
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
    provider_inputs: PropertyMap = field(default_factory=dict)
    ignore_changes: tuple[str, ...] = ()
    delete_before_replace: bool | None = None
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_timeouts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remediation:
    """A policy rewrote inputs. changed: the paths it set, changed or removed, sorted."""

    pack: str
    pack_version: str
    policy: str
    description: str
    urn: str
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remediated:
    """properties: the inputs to go on with. violations: remedies that could not be judged (advisory)."""

    properties: PropertyMap
    remediations: tuple[Remediation, ...] = ()
    violations: tuple[PolicyViolation, ...] = ()


class PolicyPacks:
    """The packs of one operation, asked together; their violations sorted by URN, pack and policy."""

    def __init__(self, paths: Sequence[Path], files: Sequence[PolicyFile | None], run: PackRun) -> None:
        self._paths, self._files, self._run = tuple(paths), tuple(files), run
        self._packs: tuple[Pack, ...] = ()
        self._next: asyncio.Task[tuple[Pack, ...]] | None = None
        self._next_dry_run = run.dry_run

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
        policy_config: Path | Sequence[Path] | None = None,
        organization: str = ORGANIZATION,
        secret_keys: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        on_line: Callable[[str, str], None] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> AsyncIterator[PolicyPacks]:
        """Run the packs in paths, the first configured by the first file of policy_config, and so on.

        Without policy_config each pack is configured by its ``config/<stack>.json``, if it has one.
        config: the stack's configuration, ``namespace:key`` -> text. on_line: pack and a line that it
        printed. answer_seconds: how long a pack may take to judge. Raises ConfigError, TickoverError.
        """
        run = PackRun(
            project,
            stack,
            dry_run,
            dict(config or {}),
            organization,
            tuple(secret_keys),
            dict(tags or {}),
            on_line,
            answer_seconds,
        )
        packs = cls(paths, paired_files(paths, policy_config), run)
        packs._packs = await packs._started(dry_run)
        try:
            yield packs
        finally:
            await packs._close()

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

    def prepare(self, *, dry_run: bool) -> None:
        """Start the processes of the next phase in the background: `begin` then waits less."""
        if self._next is None:
            self._next_dry_run = dry_run
            self._next = asyncio.create_task(self._started(dry_run))

    async def begin(self, *, dry_run: bool) -> None:
        """The next phase of the operation: fresh packs, as the plan's may remember what they were asked."""
        if self._next is not None and self._next_dry_run != dry_run:
            await _discard(self._next)
            self._next = None
        self.prepare(dry_run=dry_run)
        assert self._next is not None
        task, self._next = self._next, None
        try:
            fresh = await task
        except asyncio.CancelledError:
            await _discard(task)
            raise
        old, self._packs = self._packs, fresh
        await _close_all(old)

    async def remediate(self, resource: AnalyzedResource) -> Remediated:
        """The resource's inputs after the remedies of every pack, one pack after another."""
        properties = resource.properties
        done: list[Remediation] = []
        unsure: list[PolicyViolation] = []
        for pack in self._packs:
            if not pack.remedies:
                continue
            asked = replace(resource, properties=properties)
            for remedy in await pack.remediate(_request(asked, internal=True)):
                if remedy.violation is not None:
                    unsure.append(remedy.violation)
                    continue
                before, properties = properties, _kept(properties, wire.decode(remedy.properties))
                done.append(
                    Remediation(
                        remedy.pack,
                        remedy.pack_version,
                        remedy.policy,
                        remedy.description,
                        resource.urn,
                        changed_paths(before, properties),
                    )
                )
        return Remediated(properties, tuple(done), _sorted([unsure]))

    async def analyze(self, resource: AnalyzedResource) -> tuple[PolicyViolation, ...]:
        """What the packs say of one resource's inputs, before its step."""
        request = _request(resource, internal=False)
        return _sorted(await _all([p.analyze(request) for p in self._packs if p.judges_resources]))

    async def analyze_stack(self, resources: Sequence[AnalyzedResource]) -> tuple[PolicyViolation, ...]:
        """What the packs say of the whole stack."""
        packs = [p for p in self._packs if p.judges_stacks]
        if not packs:
            return ()
        by_urn = {r.urn: r for r in resources}
        request = analyzer_pb2.AnalyzeStackRequest(
            resources=[
                analyzer_pb2.AnalyzerResource(
                    type=r.type,
                    urn=r.urn,
                    name=r.name,
                    properties=_encode(r.properties, internal=False),
                    options=_options(r),
                    provider=_provider(r, by_urn),
                    parent=r.parent,
                    dependencies=r.dependencies,
                    propertyDependencies={
                        key: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns)
                        for key, urns in r.property_dependencies.items()
                        if urns
                    },
                )
                for r in resources
            ]
        )
        return _sorted(await _all([p.analyze_stack(request) for p in packs]))

    async def _started(self, dry_run: bool) -> tuple[Pack, ...]:
        run = replace(self._run, dry_run=dry_run)
        tasks = [
            asyncio.create_task(_opened(path, file, run))
            for path, file in zip(self._paths, self._files, strict=True)
        ]
        try:
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Pack):
                    await outcome.close()
            raise
        packs = tuple(o for o in outcomes if isinstance(o, Pack))
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                await _close_all(packs)
                raise outcome
        return packs

    async def _close(self) -> None:
        if self._next is not None:
            await _discard(self._next)
            self._next = None
        await _close_all(self._packs)


async def _opened(path: Path, file: PolicyFile | None, run: PackRun) -> Pack:
    """A pack that runs and knows its configuration."""
    pack = await open_pack(path, run)
    try:
        if file is None:
            own = default_policy_config(pack.folder, run.stack)
            file = load_policy_file(own) if own else None
        if not pack.supports_config:
            if file is not None and file.settings:
                raise ConfigError(
                    "bad-policy-config",
                    "Policy pack takes no config",
                    f"{pack.name} does not support configuration, and {file.name} sets some.",
                    address=file.name,
                )
            return pack
        file = file or PolicyFile(f"{pack.name}: policy config")
        check_names(file, (p.name for p in pack.policies))
        await pack.configure(effective(pack.policies, pack.initial, file))
    except BaseException:
        await pack.close()
        raise
    return pack


async def _discard(task: asyncio.Task[tuple[Pack, ...]]) -> None:
    """End the packs that a task has started or is starting."""
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, tuple):
        await _close_all(outcome)


async def _close_all(packs: Sequence[Pack]) -> None:
    await asyncio.gather(*(p.close() for p in packs))


async def _all(calls: Sequence[Coroutine[Any, Any, list[PolicyViolation]]]) -> list[list[PolicyViolation]]:
    """The answers of all; a failure waits for the others, so that none speaks later."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    found: list[list[PolicyViolation]] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        found.append(outcome)
    return found


# --- values --------------------------------------------------------------------------------------


def _request(resource: AnalyzedResource, *, internal: bool) -> analyzer_pb2.AnalyzeRequest:
    return analyzer_pb2.AnalyzeRequest(
        type=resource.type,
        urn=resource.urn,
        name=resource.name,
        properties=_encode(resource.properties, internal=internal),
        options=_options(resource),
        provider=_provider(resource, {}),
    )


def _encode(properties: PropertyMap, *, internal: bool) -> Struct:
    """internal: keep keys such as ``__provider``, as a remedy returns all inputs and a rule wants few."""
    kept = properties if internal else _without_internal(properties)
    return wire.encode(kept, keep_resources=False)  # the policy SDK knows no references


def _without_internal(value: PropertyValue) -> Any:
    match value:
        case dict():
            return {k: _without_internal(v) for k, v in value.items() if not k.startswith("__")}
        case list():
            return [_without_internal(v) for v in value]
        case Secret():
            return Secret(_without_internal(value.value))
        case _:
            return value


def _options(resource: AnalyzedResource) -> analyzer_pb2.AnalyzerResourceOptions:
    return analyzer_pb2.AnalyzerResourceOptions(
        protect=resource.protect,
        parent=resource.parent,
        ignoreChanges=resource.ignore_changes,
        deleteBeforeReplace=bool(resource.delete_before_replace),
        deleteBeforeReplaceDefined=resource.delete_before_replace is not None,
        additionalSecretOutputs=resource.additional_secret_outputs,
        aliases=resource.aliases,
        customTimeouts=analyzer_pb2.AnalyzerResourceOptions.CustomTimeouts(**resource.custom_timeouts),
    )


def _provider(
    resource: AnalyzedResource, known: Mapping[str, AnalyzedResource]
) -> analyzer_pb2.AnalyzerProviderResource | None:
    if not resource.provider:
        return None
    urn, _ = split_reference(resource.provider)
    parsed = parse_urn(urn)
    properties = resource.provider_inputs or (known[urn].properties if urn in known else {})
    return analyzer_pb2.AnalyzerProviderResource(
        type=parsed.type, urn=urn, name=parsed.name, properties=_encode(properties, internal=False)
    )


def _kept(before: PropertyValue, after: PropertyValue) -> Any:
    """after, with assets that a pack only passed on as they were: the policy SDK forgets their hash."""
    match before, after:
        case dict(), dict():
            return {k: _kept(before.get(k), v) for k, v in after.items()}
        case list(), list() if len(before) == len(after):
            return [_kept(b, a) for b, a in zip(before, after, strict=True)]
        case Secret(), Secret():
            return Secret(_kept(before.value, after.value))
        case Asset(), Asset():
            return before if replace(before, hash="") == replace(after, hash="") else after
        case Archive(), Archive():
            inner = after.assets and _kept(dict(before.assets or {}), dict(after.assets))
            return before if replace(before, hash="") == replace(after, assets=inner, hash="") else after
        case _:
            return after


def changed_paths(before: PropertyValue, after: PropertyValue, path: str = "") -> tuple[str, ...]:
    """Where after differs from before: ``a.b[0]``, sorted. Becoming secret is a difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        missing = object()
        pairs = [(before.get(k, missing), after.get(k, missing), f"{path}.{k}" if path else k) for k in keys]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(b, a, f"{path}[{i}]") for i, (b, a) in enumerate(zip(before, after, strict=True))]
    else:
        return () if before == after and isinstance(before, bool) == isinstance(after, bool) else (path,)
    return tuple(p for b, a, inner in pairs for p in changed_paths(b, a, inner))


def _sorted(found: Sequence[Sequence[PolicyViolation]]) -> tuple[PolicyViolation, ...]:
    every = (violation for of_pack in found for violation in of_pack)
    return tuple(sorted(every, key=lambda v: (v.urn, v.pack, v.policy, v.message)))
