"""Instances on disk: what the next host has to know of them.

Owns: the table `instance`. Promises: a row exists before an instance runs any code of its own and is marked
when nothing of the instance is left. Never: written for what changes with every request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tickover.fc.function import Function
from tickover.host.db import Database
from tickover.host.instance import Instance, PoolKey, sleep_level
from tickover.host.model import BillingClass, InstanceState, UsageRow

_COLUMNS = (
    "instance_id, function_name, qualifier, version_id, revision, spec, idle_enabled, state, runtime, ref, "
    "pid, port, created_wall_ns, created_mono_ns, destroyed_wall_ns, reason"
)


@dataclass(frozen=True, slots=True)
class Sizing:
    """What an instance is priced by."""

    function_name: str
    cpu: float
    memory_mb: int
    disk_mb: int
    gpu_type: str
    gpu_memory_mb: int

    def row(
        self, instance_id: str, billing_class: BillingClass, start_ns: int, end_ns: int, duration_ns: int
    ) -> UsageRow:
        return UsageRow(
            self.function_name,
            instance_id,
            billing_class,
            start_ns,
            end_ns,
            duration_ns,
            self.cpu,
            self.memory_mb,
            self.disk_mb,
            self.gpu_type,
            self.gpu_memory_mb,
        )


def sizing(function_name: str, spec: Function) -> Sizing:
    gpu = spec.gpu_config
    return Sizing(
        function_name,
        spec.cpu or 0.0,
        spec.memory_size or 0,
        spec.disk_size or 0,
        (gpu.gpu_type or "") if gpu else "",
        (gpu.gpu_memory_size or 0) if gpu else 0,
    )


class Records:
    """The rows of this host's instances."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._sizings: dict[str, Sizing] = {}

    def insert(self, instance: Instance) -> None:
        values = (
            instance.instance_id,
            instance.key.function_name,
            instance.key.qualifier,
            instance.version_id,
            instance.revision,
            json.dumps(instance.spec.to_wire()),
            int(instance.idle_enabled),
            InstanceState.STARTING.value,
            instance.runtime,
            instance.ref,
            instance.pid,
            instance.port,
            instance.created_wall_ns,
            instance.created_mono_ns,
            None,
            "",
        )
        marks = ", ".join("?" * len(values))
        with self._db.transaction() as connection:
            connection.execute(f"INSERT INTO instance ({_COLUMNS}) VALUES ({marks})", values)
            if instance.cards:
                held = (instance.instance_id, json.dumps(instance.cards), "[]")
                connection.execute("INSERT INTO instance_cards VALUES (?, ?, ?)", held)

    def note(self, instance: Instance) -> None:
        """Its state, why, whether it is gone, and what of it the GPU's driver may have."""
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE instance SET state = ?, reason = ?, destroyed_wall_ns = ? WHERE instance_id = ?",
                (instance.state.value, instance.reason, instance.destroyed_wall_ns, instance.instance_id),
            )
            if instance.cards:
                connection.execute(
                    "UPDATE instance_cards SET deep_pids = ? WHERE instance_id = ?",
                    (json.dumps(instance.deep_pids), instance.instance_id),
                )

    def living(self) -> list[Instance]:
        """What a former host has not seen the end of, oldest first, in the state it was last noted in."""
        cards = {
            row[0]: (tuple(json.loads(row[1])), tuple(json.loads(row[2])))
            for row in self._db.rows("SELECT instance_id, cards, deep_pids FROM instance_cards")
        }
        found = self._db.rows(
            f"SELECT {_COLUMNS} FROM instance WHERE destroyed_wall_ns IS NULL "
            "ORDER BY created_wall_ns, instance_id"
        )
        return [_instance(row, *cards.get(row[0], ((), ()))) for row in found]

    def sizing(self, instance_id: str) -> Sizing | None:
        """What the instance was started with; None if it was never recorded."""
        if instance_id not in self._sizings:
            found = self._db.rows(
                "SELECT function_name, spec FROM instance WHERE instance_id = ?", (instance_id,)
            )
            if not found:
                return None
            spec = Function.model_validate(json.loads(found[0][1]))
            self._sizings[instance_id] = sizing(found[0][0], spec)
        return self._sizings[instance_id]


def _instance(row: tuple[Any, ...], cards: tuple[str, ...], deep_pids: tuple[int, ...]) -> Instance:
    spec = Function.model_validate(json.loads(row[5]))  # as it was started with
    return Instance(
        instance_id=row[0],
        key=PoolKey(row[1], row[2]),
        version_id=row[3],
        revision=row[4],
        spec=spec,
        idle_enabled=bool(row[6]),
        state=InstanceState(row[7]),
        runtime=row[8],
        ref=row[9],
        pid=row[10],
        port=row[11],
        created_wall_ns=row[12],
        created_mono_ns=row[13],
        reason=row[15],
        cards=cards,
        deep_pids=deep_pids,
        sleep_level=sleep_level(spec),
    )
