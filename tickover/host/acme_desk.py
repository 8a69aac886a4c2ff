"""The host's certificates by ACME: asked for, renewed in time, and what is known of them.

Owns: the certificates in use, what has failed, and the one order under way. Promises: an order waits in a
thread of its own, so that nothing else does; a failure leaves the certificate that there is, and is told in
the log, in metrics and to `tickover host status`. Never: decides when (`acme_plan`), speaks ACME itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge

from tickover.host.acme_challenges import Challenges
from tickover.host.acme_plan import AcmeSettings, OrderFailed, Tries, challenge_of, renew_at
from tickover.host.acme_store import AcmeStore, Issued
from tickover.host.registry import ObjectRegistry
from tickover.host.store import Kind
from tickover.host.tls import CertificateError, Site, context_of, covers

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 60.0  # at the latest so often it is seen what is due: clocks are set, too

ORDER_SECONDS: Final = 300.0  # longer than any that goes well, however slowly the server answers

Order = Callable[[str, str], Issued]  # of a domain by a challenge. Raises OrderFailed; it blocks


@dataclass(frozen=True, slots=True)
class Wanted:
    """A domain that is to have a certificate. change: of its declaration."""

    name: str
    challenge: str
    change: int


class CertificateDesk:
    """The certificates of one host. settings: None for a host that asks nobody."""

    def __init__(
        self,
        settings: AcmeSettings | None,
        data_dir: Path,
        challenges: Challenges,
        registry: Callable[[], ObjectRegistry],
        seconds: Callable[[], float] = time.time,
        place: Order | None = None,
    ) -> None:
        self.settings = settings
        self.generation = 0  # grows with every certificate
        self._registry = registry
        self._seconds = seconds
        self._store = AcmeStore(data_dir, settings.directory if settings else "")
        self._challenges = challenges
        self._place = place or self._order
        self._issued: dict[str, Issued | None] = {}
        self._tries: dict[str, tuple[int, Tries]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.orders = Counter(
            "tickover_acme_orders",
            "Orders of certificates by ACME, by how they ended",
            ("result",),
            registry=None,
        )
        self.expiry = Gauge(
            "tickover_acme_certificate_expiry_seconds",
            "When a certificate by ACME expires, in seconds since the epoch",
            ("domain",),
            registry=None,
        )

    def start(self) -> None:
        """Look after the certificates from now on: no other process does."""
        if self.settings is None or self._task is not None:
            return
        self._issued.clear()
        self._tries = self._store.tries()
        self.generation += 1
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_tell_end)

    async def close(self) -> None:
        """Leave it to another process. An order under way goes nowhere."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """What is declared has changed."""
        self._changed.set()

    def find(self, name: str) -> Issued | None:
        """The certificate that a domain has."""
        if name not in self._issued:
            found = self._store.certificate(name) if self.settings else None
            self._issued[name] = found if found is not None and covers(found.certificate, name) else None
        return self._issued[name]

    def report(self) -> list[dict[str, Any]]:
        """What is known of each domain's certificate, for people."""
        found = []
        for one in self._wanted() if self.settings else ():
            issued = self.find(one.name)
            tries = self._tries_of(one)
            found.append(
                {
                    "domain": one.name,
                    "challenge": one.challenge,
                    "expires_s": None if issued is None else int(issued.validity().ends_s),
                    "next_order_s": int(self._due(one)),
                    "failures": tries.failures,
                    "problem": tries.problem,
                }
            )
        return found

    # -- inside ----------------------------------------------------------------------------------------

    def _wanted(self) -> list[Wanted]:
        rows = self._registry().select(Kind.DOMAIN)
        found = [(row, challenge_of(row.body)) for row in rows]
        return [Wanted(row.name.lower(), how, row.modified_ns) for row, how in found if how is not None]

    def _tries_of(self, one: Wanted) -> Tries:
        """A declaration that was put anew is tried anew."""
        change, tries = self._tries.get(one.name, (one.change, Tries()))
        return tries if change == one.change else Tries()

    def _due(self, one: Wanted) -> float:
        issued = self.find(one.name)
        return renew_at(one.name, None if issued is None else issued.validity(), self._tries_of(one))

    def _order(self, name: str, challenge: str) -> Issued:
        from tickover.host.acme_client import order  # heavy: only a host that orders pays for it

        if self.settings is None:
            raise AssertionError("a desk without settings places no orders")
        return order(self.settings, self._store, name, challenge, self._challenges.shown)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wanted = sorted(self._wanted(), key=self._due)
            self._show(wanted)
            now = self._seconds()
            if wanted and self._due(wanted[0]) <= now:
                await self._renew(wanted[0])
                continue
            pause = min(LOOK_SECONDS, self._due(wanted[0]) - now) if wanted else LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)

    async def _renew(self, one: Wanted) -> None:
        try:
            async with asyncio.timeout(ORDER_SECONDS):
                issued = await _in_thread(lambda: self._place(one.name, one.challenge))
            if not covers(issued.certificate, one.name):
                raise OrderFailed("the ACME server gave a certificate for another name")
            context_of(Site(one.name, issued.certificate, issued.private_key))
            self._store.keep_certificate(one.name, issued)
        except TimeoutError:
            self._failed(one, f"the order was not done within {ORDER_SECONDS:.0f} seconds")
            return
        except (OrderFailed, CertificateError, OSError) as error:
            self._failed(one, str(error))
            return
        self._issued[one.name] = issued
        self.generation += 1
        self.orders.labels("issued").inc()
        self._tries[one.name] = (one.change, Tries(last_s=self._seconds()))
        self._keep_tries()
        log.info("certificate issued", domain=one.name, expires_s=int(issued.validity().ends_s))

    def _failed(self, one: Wanted, problem: str) -> None:
        tries = Tries(self._tries_of(one).failures + 1, self._seconds(), problem)
        self._tries[one.name] = (one.change, tries)
        self.orders.labels("failed").inc()
        self._keep_tries()
        log.error(
            "no new certificate",
            domain=one.name,
            reason=problem,
            failures=tries.failures,
            serves_on=self.find(one.name) is not None,
            again_in_seconds=round(self._due(one) - self._seconds()),
        )

    def _keep_tries(self) -> None:
        names = {one.name for one in self._wanted()}
        self._tries = {name: row for name, row in self._tries.items() if name in names}
        try:
            self._store.keep_tries(self._tries)
        except OSError as error:
            log.error("what has failed by ACME was not written", error=str(error))

    def _show(self, wanted: list[Wanted]) -> None:
        self.expiry.clear()
        for one in wanted:
            issued = self.find(one.name)
            if issued is not None:
                self.expiry.labels(one.name).set(issued.validity().ends_s)


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("certificates are not renewed any more. This is a bug in tickover.", exc_info=error)


async def _in_thread(work: Callable[[], Issued]) -> Issued:
    """In a thread that keeps no process alive: an order may take minutes, and can be placed again."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Issued] = loop.create_future()

    def settle(issued: Issued | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif issued is not None:
            done.set_result(issued)

    def run() -> None:
        issued: Issued | None = None
        problem: BaseException | None = None
        try:
            issued = work()
        except Exception as error:  # noqa: BLE001 - raised where the order is waited for
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, issued, problem)

    threading.Thread(target=run, name="acme", daemon=True).start()
    return await done
