"""What the pool keeps on disk: the ledger, the instances' rows, and when they are written.

Owns: the database while the pool is open. Promises: a write that fails (a full disk) stops nothing that runs;
what the ledger holds in memory is written with the next one that works. Never: decides what is billed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from tickover.errors import TickoverError
from tickover.host.clock import Clock, boot_id
from tickover.host.db import Database
from tickover.host.hooks import due_pre_stop
from tickover.host.instance import Instance
from tickover.host.ledger import Ledger, Moment
from tickover.host.model import BillingClass, InstanceState, PreStop, Usage, UsageRow
from tickover.host.records import Records
from tickover.host.states import billing_class

log = structlog.get_logger(__name__)


class Meter:
    """Ledger and records of one open pool. delay_seconds: how long a change may stay in memory."""

    def __init__(self, path: Path, clock: Clock, delay_seconds: float) -> None:
        self._clock = clock
        self._delay_seconds = delay_seconds
        self._database = Database(path)
        self._records = Records(self._database)
        self._ledger = Ledger(self._database, boot_id(), self._now())
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.beat()
        self._database.close()

    # -- what happens ----------------------------------------------------------------------------------

    def entered(self, instance: Instance, mono_ns: int) -> None:
        """The instance's state has changed."""
        self._ledger.enter(instance.instance_id, _billed(instance), mono_ns)
        self._write_soon()

    def served(self, function_name: str) -> None:
        self._ledger.served(function_name, self._clock.mono_ns())
        self._write_soon()

    def beat(self) -> None:
        self._guard(lambda: self._ledger.beat(self._now()))
        self._guard(lambda: self._ledger.tidy(self._clock.mono_ns()))

    def write_all(self) -> None:
        """Write what is still in memory, for another owner will go on with it. Raises TickoverError."""
        self._ledger.beat(self._now())

    def recover(self, adopted: list[Instance]) -> None:
        """Close what a former host left open and go on with these."""
        self._ledger.recover({instance.instance_id: _billed(instance) for instance in adopted})

    # -- instances -------------------------------------------------------------------------------------

    def insert(self, instance: Instance) -> None:
        """Raises TickoverError: an instance that cannot be recorded must not run."""
        self._records.insert(instance)

    def note(self, instance: Instance) -> None:
        self._guard(lambda: self._records.note(instance))

    def living(self) -> list[Instance]:
        return self._records.living()

    # -- reading ---------------------------------------------------------------------------------------

    def usage(self, since_ns: int, until_ns: int) -> Usage:
        now = self._clock.mono_ns()
        self._ledger.flush(now)
        since_ns, until_ns = self._ledger.window(since_ns, until_ns)
        rows: list[UsageRow] = []
        for piece in self._ledger.usage(since_ns, until_ns, self._ledger.moment(now)):
            sizing = self._records.sizing(piece.instance_id)
            if sizing is not None:
                times = (piece.first_wall_ns, piece.last_wall_ns, piece.duration_ns)
                rows.append(sizing.row(piece.instance_id, piece.billing_class, *times))
        return Usage(since_ns, until_ns, tuple(rows), self._ledger.requests(since_ns, until_ns))

    # -- writing ---------------------------------------------------------------------------------------

    def _now(self) -> Moment:
        return Moment(self._clock.mono_ns(), self._clock.wall_ns())

    def _write_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_seconds, self._write)

    def _write(self) -> None:
        self._timer = None
        self._guard(lambda: self._ledger.flush(self._clock.mono_ns()))
        self._guard(lambda: self._ledger.tidy(self._clock.mono_ns()))

    def _guard(self, write: Callable[[], None]) -> None:
        try:
            write()
        except TickoverError as error:
            log.error("host database failed", detail=error.detail)


def _billed(instance: Instance) -> BillingClass | None:
    pre_stop = PreStop.OVER
    # Asked only of one that stops: every request comes by here twice.
    if instance.state is InstanceState.STOPPING and due_pre_stop(instance) is not None:
        pre_stop = instance.pre_stop
    return billing_class(instance.state, idle_enabled=instance.idle_enabled, pre_stop=pre_stop)
