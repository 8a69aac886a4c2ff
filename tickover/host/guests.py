"""Former hosts that still have requests on this host's instances.

Owns: their leases, and what they ask for on behalf of their callers. Promises: a lease of a former host
counts like any other until that host says that it is over, or is gone; one that was handed on with the
instances has a while to say that it is still there. Never: reads or writes a byte of a request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import structlog

from tickover.host.handover import Held
from tickover.host.line import Line, Message, Peer, close_all
from tickover.host.model import Lease, Leases, Refused

log = structlog.get_logger(__name__)

REJOIN_SECONDS: Final = 10.0

Assume = Callable[[Lease], None]
TakeConnection = Callable[[int], None]


class Guest:
    """One former host."""

    def __init__(
        self, holder: str, desk: Leases, take: TakeConnection, left: Callable[[Guest], None]
    ) -> None:
        self.holder = holder
        self.leases: dict[int, Lease] = {}
        self.line: Line | None = None
        self._desk = desk
        self._take = take
        self._left = left
        self._asks: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._process: int | None = None

    def joined(self, line: Line, peer: Peer) -> None:
        """It is there; that it has ended will be seen at once."""
        self._stop_watching()
        if self.line is not None:
            self.line.close()  # it has dialled anew before we saw that the former line is dead
        self.line = line
        self._process = os.dup(peer.process)
        asyncio.get_running_loop().add_reader(self._process, self._gone)

    def await_it(self) -> None:
        """Give its leases back unless it calls in time."""
        self._stop_watching()
        self._timer = asyncio.get_running_loop().call_later(REJOIN_SECONDS, self._gone)

    def heard(self, message: Message, files: list[int]) -> None:
        """Raises KeyError, TypeError or ValueError for a message that makes no sense."""
        number = int(message.get("number", 0))
        match message["do"]:
            case "acquire":
                function_name, qualifier = str(message["function"]), str(message["qualifier"])
                session, request_id = str(message["session"]), str(message.get("request", ""))
                work = self._ask(number, function_name, qualifier, session, request_id)
                self._asks[number] = asyncio.get_running_loop().create_task(work)
            case "leave":
                self._leave(number)
            case "release":
                lease = self.leases.pop(number, None)
                if lease is not None:
                    self._desk.release(lease, failed=bool(message["failed"]))
            case "connection" if files:
                self._take(files.pop())
            case unknown:
                log.warning("a former host says what nobody knows", holder=self.holder, word=str(unknown))
        close_all(files)

    def ended(self) -> None:
        """Its line is dead: it ends, or it calls again soon."""
        self._hang_up()

    def rest(self) -> None:
        """Hear nothing more; its leases go on."""
        self._stop_watching()
        self._hang_up()

    def keep_only(self, numbers: Iterable[int]) -> None:
        """It has named all leases that it has; the others ended unheard."""
        for number in set(self.leases) - set(numbers):
            self._desk.release(self.leases.pop(number))

    async def _ask(
        self, number: int, function_name: str, qualifier: str, session: str, request_id: str
    ) -> None:
        try:
            lease = await self._desk.acquire(function_name, qualifier, request_id=request_id, session=session)
        except Refused as refused:
            answer: dict[str, Any] = {"do": "refused", "number": number, "status": refused.status}
            answer |= {"code": refused.code, "message": refused.message}
            self._say({**answer, "retry_after_seconds": refused.retry_after_seconds})
        else:
            self.leases[number] = lease
            self._say({"do": "granted", "number": number, "lease": asdict(lease)})
        finally:
            self._asks.pop(number, None)

    def _leave(self, number: int) -> None:
        task, lease = self._asks.get(number), self.leases.pop(number, None)
        if task is not None:
            task.cancel()
        if lease is not None:  # granted while it was leaving
            self._desk.release(lease, failed=False)

    def _say(self, message: Message) -> None:
        if self.line is not None:
            self.line.send(message)

    def _hang_up(self) -> None:
        for task in self._asks.values():
            task.cancel()  # it asks again, whoever owns the instances then
        if self.line is not None:
            self.line.close()
            self.line = None

    def _gone(self) -> None:
        self.rest()
        if self.leases:
            log.warning(
                "a former host has ended in its requests", holder=self.holder, requests=len(self.leases)
            )
        for lease in self.leases.values():
            self._desk.release(lease, failed=True)
        self.leases.clear()
        self._left(self)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._process is not None:
            asyncio.get_running_loop().remove_reader(self._process)
            os.close(self._process)
            self._process = None


class Guests:
    """All former hosts of one that owns the instances."""

    def __init__(self, desk: Leases, take: TakeConnection, assume: Assume) -> None:
        self._desk = desk
        self._take = take
        self._assume = assume
        self._guests: dict[str, Guest] = {}

    def of(self, holder: str) -> Guest:
        guest = self._guests.get(holder)
        if guest is None:
            guest = Guest(holder, self._desk, self._take, lambda left: self._forget(left))
            self._guests[holder] = guest
        return guest

    def expect(self, held: Iterable[Held]) -> None:
        """These came with the instances; each holder has to call in time, unless it has."""
        for one in held:
            self.of(one.holder).leases[one.number] = one.lease
        self.wait()

    def wait(self) -> None:
        for guest in self._guests.values():
            if guest.line is None:
                guest.await_it()

    def rejoin(self, holder: str, leases: Mapping[int, Lease], line: Line, peer: Peer) -> Guest:
        """A former host has called and named its leases; those nobody told us of count from now on."""
        guest = self.of(holder)
        guest.joined(line, peer)
        guest.keep_only(leases)
        for number, lease in leases.items():
            if number not in guest.leases:
                guest.leases[number] = lease
                self._assume(lease)
        return guest

    def rest(self) -> None:
        """Hear nobody, for it is about to be decided who owns the instances."""
        for guest in self._guests.values():
            guest.rest()

    def held(self) -> tuple[Held, ...]:
        found = self._guests.values()
        return tuple(Held(g.holder, number, lease) for g in found for number, lease in g.leases.items())

    def facts(self) -> list[dict[str, Any]]:
        """For `host status`."""
        return [{"holder": g.holder, "requests": len(g.leases)} for g in self._guests.values() if g.leases]

    def close(self) -> None:
        self.rest()
        self._guests.clear()

    def _forget(self, guest: Guest) -> None:
        if self._guests.get(guest.holder) is guest:
            del self._guests[guest.holder]
