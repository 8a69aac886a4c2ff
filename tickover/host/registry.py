"""What is declared: the host's tables of functions, versions, aliases, triggers, domains and pools.

Owns: the declared objects in memory, mirrored in the store. Promises: memory changes only after the store
has kept the change; `desired` and `next_change_ns` are functions of the tables and the given time. Never:
starts, stops or asks an instance; knows HTTP.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from tickover.fc.function import Function
from tickover.fc.provision import ProvisionConfig
from tickover.host.canary import Share, shares_of, split
from tickover.host.idle_settings import LIVE_VARIABLES, idle_settings
from tickover.host.model import LATEST, DesiredPool
from tickover.host.store import Key, Kind, Row, Store
from tickover.host.targets import Expected, Timetable, timetable

# Changing one of these needs no new instance: the front door and the pool read them live.
LIVE_FIELDS = frozenset(
    {
        "description",
        "instanceConcurrency",
        "timeout",
        "tags",
        "logConfig",
        "idleTimeout",
        "sessionAffinity",
        "sessionAffinityConfig",
    }
)
LATEST_VERSION = "0"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A qualifier looked up: the spec it means now and the version it comes from ("0" for LATEST)."""

    function_name: str
    qualifier: str
    version_id: str
    spec: Function


@dataclass(eq=False)
class Missing(LookupError):
    """A name that is not declared. kind tells which of the names in a lookup it was."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name} is not declared"


class ObjectRegistry:
    """The declared side of the host; satisfies `tickover.host.model.Registry`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[Key, Row] = {row.key: row for row in store.rows()}
        self._specs: dict[Key, Function] = {}
        self._timetables: dict[Key, Timetable] = {}
        self._changes: dict[Key, tuple[int, int | None]] = {}  # looked at when, changes when
        self._expected: dict[Key, tuple[int, Expected]] = {}  # looked at when, found what
        self.generation = 0  # grows with every change

    # -- reading ---------------------------------------------------------------------------------------

    def get(self, kind: Kind, parent: str, name: str) -> Row:
        """One object, or Missing."""
        row = self._rows.get((kind, parent, name))
        if row is None:
            raise Missing(kind, name)
        return row

    def find(self, kind: Kind, parent: str, name: str) -> Row | None:
        return self._rows.get((kind, parent, name))

    def function(self, name: str) -> Row:
        return self.get(Kind.FUNCTION, "", name)

    def select(self, kind: Kind, parent: str | None = None) -> tuple[Row, ...]:
        """All of a kind (under one parent), sorted by (parent, name)."""
        found = [r for r in self._rows.values() if r.kind is kind and (parent is None or r.parent == parent)]
        return tuple(sorted(found, key=lambda r: (r.parent, r.name)))

    def resolve(self, function_name: str, qualifier: str) -> Resolved:
        """The spec that LATEST, an alias or a version number of a function means now. Raises Missing."""
        function = self.function(function_name)
        if qualifier in ("", LATEST):
            return Resolved(function_name, LATEST, LATEST_VERSION, self._spec(function))
        if qualifier.isdigit():
            version = self.get(Kind.VERSION, function_name, qualifier)
        else:
            alias = self.get(Kind.ALIAS, function_name, qualifier)
            version = self.get(Kind.VERSION, function_name, str(alias.body["versionId"]))
        return Resolved(function_name, qualifier, version.name, self._spec(version))

    def version(self, function_name: str, version_id: str) -> Function:
        """The spec of a version, LATEST's for "0". Raises Missing."""
        return self.resolve(function_name, LATEST if version_id == LATEST_VERSION else version_id).spec

    def http_trigger(self, function_name: str, qualifier: str) -> Row | None:
        """The HTTP trigger of a qualifier, if it has one."""
        for row in self.select(Kind.TRIGGER, function_name):
            if row.body.get("qualifier", LATEST) == qualifier and row.body["triggerType"] == "http":
                return row
        return None

    def over_limit(self, new: Row) -> str:
        """Why the pools of a function would be too large with this row; empty if they would not."""
        name = new.name if new.kind is Kind.CONCURRENCY else new.parent
        rows = {**self._rows, new.key: new}
        limit = rows.get((Kind.CONCURRENCY, "", name))
        pools = [row for row in rows.values() if row.kind is Kind.PROVISION and row.parent == name]
        total = sum(most_instances(row, rows.get((Kind.ALIAS, name, row.name))) for row in pools)
        if limit is None or total <= int(limit.body["reservedConcurrency"]):
            return ""
        most = limit.body["reservedConcurrency"]
        return f"{total} instances in all exceed the reservedConcurrency {most} of function '{name}'"

    # -- the pool's view -------------------------------------------------------------------------------

    def desired(self, now_ns: int) -> tuple[DesiredPool, ...]:
        """All pools, sorted by (function, qualifier), an alias' second version after its own."""
        return tuple(pool for row in self.select(Kind.PROVISION) for pool in self._desired_pools(row, now_ns))

    def next_change_ns(self, now_ns: int) -> int | None:
        """When the next schedule may change a target."""
        moments = [self._next_change_ns(row.key, now_ns) for row in self.select(Kind.PROVISION)]
        return min((m for m in moments if m is not None), default=None)

    def _next_change_ns(self, key: Key, now_ns: int) -> int | None:
        """Kept until it has passed: looking for the next change of a busy timetable is slow."""
        known = self._changes.get(key)
        if known is None or now_ns < known[0] or (known[1] is not None and now_ns >= known[1]):
            known = (now_ns, self._timetable(self._rows[key]).next_change_ns(now_ns))
            self._changes[key] = known
        return known[1]

    def shares(self, function_name: str, qualifier: str) -> tuple[Share, ...]:
        """The versions that a qualifier gives requests to. Raises Missing."""
        if qualifier in ("", LATEST) or qualifier.isdigit():
            return (Share(self.resolve(function_name, qualifier).version_id, 1.0),)
        return shares_of(self.get(Kind.ALIAS, function_name, qualifier).body)

    def _desired_pools(self, row: Row, now_ns: int) -> tuple[DesiredPool, ...]:
        target, shares = self._timetable(row).target(now_ns), self.shares(row.parent, row.name)
        return tuple(
            replace(self._desired_pool(row, share, size, now_ns), is_canary=index > 0)
            for index, (share, size) in enumerate(zip(shares, split(target, shares), strict=True))
        )

    def _desired_pool(self, row: Row, share: Share, target: int, now_ns: int) -> DesiredPool:
        config = _provision(row)
        spec = self.version(row.parent, share.version_id)
        resolved = Resolved(row.parent, row.name, share.version_id, spec)
        idle = is_idle_enabled(config, resolved.spec)
        function_id = self.function(row.parent).meta["functionId"]
        return DesiredPool(
            function_name=row.parent,
            qualifier=row.name,
            version_id=resolved.version_id,
            revision=revision(str(function_id), resolved, idle),
            spec=resolved.spec,
            target=target,
            idle_enabled=idle,
            expected_ns=self._expected_ns(row, resolved.spec, now_ns),
            weight=share.weight,
        )

    def _expected_ns(self, row: Row, spec: Function, now_ns: int) -> tuple[int, ...]:
        """Kept as `_next_change_ns` is, and for the same reason."""
        if not idle_settings(spec.environment_variables).wake_ahead_seconds:
            return ()
        known = self._expected.get(row.key)
        if (
            known is None
            or now_ns < known[0]
            or (known[1].until_ns is not None and now_ns >= known[1].until_ns)
        ):
            known = self._expected[row.key] = (now_ns, self._timetable(row).expected(now_ns))
        return known[1].moments

    # -- writing ---------------------------------------------------------------------------------------

    def put(self, *rows: Row) -> None:
        self.commit(rows, ())

    def delete(self, *keys: Key) -> None:
        self.commit((), keys)

    def commit(self, puts: tuple[Row, ...], deletes: tuple[Key, ...]) -> None:
        """Write rows and remove keys in one transaction, then in memory."""
        self._store.write(puts, deletes)
        self.generation += 1
        for key in deletes:
            self._rows.pop(key, None)
            self._forget(key)
        for row in puts:
            self._rows[row.key] = row
            self._forget(row.key)

    def delete_function(self, name: str) -> None:
        """A function and everything declared under it."""
        under = tuple(row.key for row in self._rows.values() if row.parent == name)
        self.commit((), (*under, (Kind.CONCURRENCY, "", name), (Kind.FUNCTION, "", name)))

    def _forget(self, key: Key) -> None:
        """What was worked out from a row that is no more."""
        self._specs.pop(key, None)
        self._timetables.pop(key, None)
        self._changes.pop(key, None)
        self._expected.pop(key, None)

    def _timetable(self, row: Row) -> Timetable:
        found = self._timetables.get(row.key)
        if found is None:
            found = self._timetables[row.key] = timetable(_provision(row))
        return found

    def _spec(self, row: Row) -> Function:
        spec = self._specs.get(row.key)
        if spec is None:
            spec = self._specs[row.key] = Function.model_validate(row.body)
        return spec


def _provision(row: Row) -> ProvisionConfig:
    return ProvisionConfig.model_validate({**row.body, "functionName": row.parent, "qualifier": row.name})


def most_instances(provision: Row, alias: Row | None) -> int:
    """The most instances that a provision config can ask for."""
    actions = [int(action.get("target", 0)) for action in provision.body.get("scheduledActions") or ()]
    target = max([int(provision.body.get("defaultTarget", 0)), *actions])
    return target if alias is None else sum(split(target, shares_of(alias.body)))


def is_idle_enabled(config: ProvisionConfig, spec: Function) -> bool:
    """Idle needs every device that the function has to be given up: the GPU too, if there is one."""
    if config.always_allocate_cpu is not False:
        return False
    return spec.gpu_config is None or config.always_allocate_gpu is False


def revision(function_id: str, resolved: Resolved, idle: bool) -> str:
    """Equal exactly when running instances may go on serving."""
    if resolved.version_id != LATEST_VERSION:
        shape: Any = resolved.version_id
    else:
        shape = {k: v for k, v in resolved.spec.to_wire().items() if k not in LIVE_FIELDS}
        variables = shape.pop("environmentVariables", None) or {}
        # What is for the host only is read live too.
        if inside := {name: value for name, value in variables.items() if name not in LIVE_VARIABLES}:
            shape["environmentVariables"] = inside
    text = json.dumps([function_id, shape, idle], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
