"""Who is there and who is wanted: the pool's tables in memory.

Owns: the instances, the wanted pools and the failures. Promises: plain look-ups. Never: changes an instance's
state, asks the registry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from tickover.host.instance import Crashes, Instance, PoolKey, PoolSettings
from tickover.host.model import DesiredPool, InstanceView, PoolStatus
from tickover.host.scheduler import CrashKey, after_crash, is_stable
from tickover.host.states import UP


class Roster:
    """Instances by id and by pool, wanted pools by key, failures by revision."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self.pools: dict[PoolKey, DesiredPool] = {}
        self.crashes: dict[CrashKey, Crashes] = {}
        self.sessions_on: Callable[[str], int] = lambda _: 0
        self._by_pool: dict[PoolKey, dict[str, Instance]] = defaultdict(dict)

    def of(self, key: PoolKey) -> Collection[Instance]:
        return self._by_pool[key].values()

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
            key = PoolKey(pool.function_name, pool.qualifier)
            is_retiring = any(key.function_name == n and q in (None, key.qualifier) for n, q in unwanted)
            self.pools[key] = replace(pool, target=0) if is_retiring else pool
            for instance in self.of(key):
                if instance.revision == pool.revision:
                    instance.spec = pool.spec  # what may change without a new instance does so now
        wanted = {(key, pool.revision) for key, pool in self.pools.items()}
        self.crashes = {key: crash for key, crash in self.crashes.items() if key in wanted}

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
        pool = self.pools.get(key)
        if pool is None:
            return PoolStatus(0, 0)
        current = sum(i.state in UP and i.revision == pool.revision for i in self.of(key))
        crash = self.crash(key)
        return PoolStatus(pool.target, current, crash.error if crash else "")

    def views(self, function_name: str | None) -> tuple[InstanceView, ...]:
        found = sorted(self.instances.values(), key=lambda i: (i.key, i.created_mono_ns, i.instance_id))
        return tuple(i.view() for i in found if function_name in (None, i.key.function_name))
