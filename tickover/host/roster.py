"""Who is there and who is wanted: the pool's tables in memory.

Owns: the instances, the wanted pools and the failures. Promises: plain look-ups. Never: changes an instance's
state, asks the registry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from tickover.host.canary import lane_of
from tickover.host.instance import Crashes, Instance, PoolKey, PoolSettings
from tickover.host.model import DesiredPool, InstanceView, PoolStatus
from tickover.host.scheduler import CrashKey, after_crash, is_stable
from tickover.host.states import ENDED, UP


class Roster:
    """Instances by id and by pool, wanted pools by key, failures by revision."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self.pools: dict[PoolKey, DesiredPool] = {}
        self.canaries: dict[PoolKey, DesiredPool] = {}  # by the key of the pool beside which they are
        self.crashes: dict[CrashKey, Crashes] = {}
        self.sessions_on: Callable[[str], int] = lambda _: 0
        self._by_pool: dict[PoolKey, dict[str, Instance]] = defaultdict(dict)

    def of(self, key: PoolKey) -> Collection[Instance]:
        return self._by_pool[key].values()

    def has_ended(self, instance_id: str) -> bool:
        instance = self.instances.get(instance_id)
        return instance is None or instance.state in ENDED

    def matching(self, function_name: str, qualifier: str | None) -> list[Instance]:
        """The instances of a function, or of one of its qualifiers."""
        return [
            instance
            for instance in self.instances.values()
            if instance.key.function_name == function_name and qualifier in (None, instance.key.qualifier)
        ]

    def add(self, instance: Instance) -> None:
        self.instances[instance.instance_id] = instance
        self._by_pool[instance.key][instance.instance_id] = instance

    def remove(self, instance: Instance) -> None:
        del self.instances[instance.instance_id]
        del self._by_pool[instance.key][instance.instance_id]

    def want(self, pools: Iterable[DesiredPool], retiring: Iterable[tuple[str, str | None]]) -> None:
        """These pools are wanted now; those that are being retired with no instance."""
        unwanted = list(retiring)
        self.pools = {}
        for pool in pools:
            key = PoolKey.of(pool)
            is_retiring = any(key.function_name == n and q in (None, key.qualifier) for n, q in unwanted)
            self.pools[key] = replace(pool, target=0) if is_retiring else pool
        self.canaries = {key.other: pool for key, pool in self.pools.items() if key.is_canary}
        revisions = {key: pool.revision for key, pool in self.pools.items()}
        for instance in list(self.instances.values()):
            self._put(instance, lane_of(instance.key, instance.revision, revisions))
        for key, pool in self.pools.items():
            for instance in self.of(key):
                if instance.revision == pool.revision:
                    instance.spec = pool.spec  # what may change without a new instance does so now
        wanted = {(key, pool.revision) for key, pool in self.pools.items()}
        self.crashes = {key: crash for key, crash in self.crashes.items() if key in wanted}

    def _put(self, instance: Instance, key: PoolKey) -> None:
        """Into another pool, with what it has in flight."""
        if key != instance.key:
            del self._by_pool[instance.key][instance.instance_id]
            instance.key = key
            self._by_pool[key][instance.instance_id] = instance

    def is_up(self, key: PoolKey) -> bool:
        """Whether somebody can serve its requests. A former revision does so until a new one can, but never
        under the name of a canary: that would be another version than the one that was asked for."""
        revision = self.revision(key)
        return any(
            i.state in UP and not i.is_unhealthy and (i.revision == revision or not key.is_canary)
            for i in self.of(key)
        )

    def revision(self, key: PoolKey) -> str:
        """The wanted revision; empty if no pool is wanted."""
        pool = self.pools.get(key)
        return pool.revision if pool else ""

    def counted(self) -> Roster:
        """Itself, with each instance's sessions counted."""
        for instance in self.instances.values():
            instance.sessions = self.sessions_on(instance.instance_id)
        return self

    def ports(self) -> set[int]:
        return {i.port for i in self.instances.values() if i.port is not None}

    # -- failures --------------------------------------------------------------------------------------

    def crash(self, key: PoolKey) -> Crashes | None:
        """The failures of a pool's wanted revision."""
        return self.crashes.get((key, self.revision(key)))

    def crashed(self, instance: Instance, now_ns: int, settings: PoolSettings) -> Crashes:
        key = (instance.key, instance.revision)
        self.crashes[key] = after_crash(self.crashes.get(key), instance, now_ns, settings)
        return self.crashes[key]

    def ready(self, instance: Instance) -> None:
        """One is up: there is nothing to complain about now, but a crash soon counts on."""
        crash = self.crashes.get((instance.key, instance.revision))
        if crash is not None:
            crash.error, crash.before_ready = "", False

    def forgive(self, now_ns: int, settings: PoolSettings) -> None:
        """A revision with an instance that stays up is no longer one that crashes."""
        for instance in self.instances.values():
            if instance.state in UP and is_stable(instance, now_ns, settings):
                self.crashes.pop((instance.key, instance.revision), None)

    # -- as others see it ------------------------------------------------------------------------------

    def status(self, key: PoolKey) -> PoolStatus:
        """Of a qualifier, both versions together where it has two."""
        target, current, errors = 0, 0, []
        for lane in (key, key.other):
            pool = self.pools.get(lane)
            if pool is None:
                continue
            target += pool.target
            current += sum(i.state in UP and i.revision == pool.revision for i in self.of(lane))
            crash = self.crash(lane)
            if crash is not None and crash.error:
                is_one_of_two = key in self.canaries
                errors.append(f"version {pool.version_id}: {crash.error}" if is_one_of_two else crash.error)
        return PoolStatus(target, current, "\n".join(errors))

    def views(self, function_name: str | None) -> tuple[InstanceView, ...]:
        found = sorted(self.instances.values(), key=lambda i: (i.key, i.created_mono_ns, i.instance_id))
        return tuple(i.view() for i in found if function_name in (None, i.key.function_name))
