"""Leases on instances that another host process owns by now: what a host has left after its hand-over.

Owns: this host's names of its leases, and the line to whoever owns the instances. Promises: the end of each
is told once; when the owner is replaced (or was killed and started again) its successor is told what is still
open; a request that is just coming is given to the owner, not refused. Never: touches an instance but through
the connections that are open.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import structlog

from tickover.host.handover import HandedOver, lease_from
from tickover.host.line import Line, LineEnded, Message, call, close_all, peer_of
from tickover.host.model import Lease, Place, Prefix, Refused

log = structlog.get_logger(__name__)

REDIAL_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 75.0  # longer than the owner itself lets anybody wait


@dataclass(slots=True, eq=False)
class _Ask:
    function_name: str
    qualifier: str
    request_id: str
    session: str = field(repr=False)
    granted: asyncio.Future[Lease] = field(repr=False)


class Elsewhere:
    """Satisfies `tickover.host.model.Leases`. held: the leases that were handed over, by our numbers."""

    def __init__(self, folder: Path, holder: str, held: Mapping[int, Lease]) -> None:
        self._folder = folder
        self._holder = holder
        self._numbers = {id(lease): (number, lease) for number, lease in held.items()}
        self._next = itertools.count(max(held, default=0) + 1)
        self._asks: dict[int, _Ask] = {}
        self._line: Line | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._serving: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def acquire_now(self, function_name: str, qualifier: str) -> Lease | None:
        return None  # whoever is asked is not in this process

    async def acquire(
        self,
        function_name: str,
        qualifier: str,
        *,
        request_id: str = "",
        session: str = "",
        place: Place | None = None,
        prefix: Prefix | None = None,
    ) -> Lease:
        if place is not None:  # the sessions are the owner's now, and ours are not to be trusted
            raise HandedOver
        number = next(self._next)
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        ask = _Ask(function_name, qualifier, request_id, session, granted)
        self._asks[number] = ask
        self._say_ask(number, ask)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await ask.granted
        except TimeoutError:
            raise Refused(
                503, "ServiceUnavailable", "the host was replaced, and its successor is silent", 5
            ) from None
        except asyncio.CancelledError:
            if ask.granted.done() and not ask.granted.cancelled() and ask.granted.exception() is None:
                self.release(ask.granted.result())  # granted and cancelled in the same turn of the loop
            raise
        finally:
            if self._asks.pop(number, None) is not None:
                self._say({"do": "leave", "number": number})

    def release(self, lease: Lease, *, failed: bool = False) -> None:
        number, _ = self._numbers.pop(id(lease), (None, lease))
        if number is not None:
            self._say({"do": "release", "number": number, "failed": failed})

    def has_ended(self, instance_id: str) -> bool:
        return False  # its owner has not said so

    def log_path(self, instance_id: str) -> str | None:
        path = self._folder / "logs" / f"{instance_id}.log"
        return str(path) if path.is_file() else None

    async def serving(self) -> None:
        """Wait until the new owner says that it serves. Raises LineEnded."""
        await asyncio.shield(self._serving)

    def leases(self) -> tuple[Lease, ...]:
        """Those that are open."""
        return tuple(lease for _, lease in self._numbers.values())

    def give_up(self) -> None:
        """The new owner has ended before it served: whoever asks it asks the next one."""
        self.close()
        for ask in self._asks.values():
            if not ask.granted.done():
                ask.granted.set_exception(HandedOver())

    def pass_on(self, descriptor: int) -> bool:
        """Give a caller's connection on which nothing is open to the owner; False if nobody is there."""
        if self._line is None:
            return False
        self._line.send({"do": "connection"}, [descriptor])
        return True

    def connected(self, line: Line) -> None:
        self._line = line

    def heard(self, message: Message, files: list[int]) -> None:
        """An answer to an ask; one that was left is given back by the owner, who hears of the leaving."""
        close_all(files)
        if message["do"] == "serving":
            self._serving.set_result(None)
            return
        number = int(message.get("number", 0))
        ask = self._asks.pop(number, None)
        if ask is None or ask.granted.done():
            return
        match message["do"]:
            case "granted":
                lease = lease_from(message["lease"])
                self._numbers[id(lease)] = (number, lease)
                ask.granted.set_result(lease)
            case "refused":
                after = message["retry_after_seconds"]
                ask.granted.set_exception(
                    Refused(message["status"], message["code"], message["message"], after)
                )
            case unknown:
                log.warning("the owner says what nobody knows", word=str(unknown))

    def ended(self) -> None:
        """Whoever owned the instances does not any more: somebody else will."""
        self._line = None
        if self._serving.done():
            self._redial_soon()
        else:
            self._serving.set_exception(LineEnded())

    def close(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._line is not None:
            self._line.close()
            self._line = None

    def _redial_soon(self) -> None:
        if not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(REDIAL_SECONDS, self._redial)

    def _redial(self) -> None:
        try:
            sock = call(self._folder)
        except OSError:
            self._redial_soon()  # nobody owns them now
            return
        try:
            peer_of(sock).close()
        except OSError as error:
            log.warning("the control socket is not of our user", error=str(error))
            sock.close()
            self._redial_soon()
            return
        self._line = line = Line(sock, self.heard, self.ended)
        line.send({"do": "rejoin", "holder": self._holder})
        for number, lease in self._numbers.values():
            line.send({"do": "held", "number": number, "lease": asdict(lease)})
        line.send({"do": "rejoined"})
        for number, ask in self._asks.items():
            self._say_ask(number, ask)

    def _say_ask(self, number: int, ask: _Ask) -> None:
        wanted = {"function": ask.function_name, "qualifier": ask.qualifier, "session": ask.session}
        self._say({"do": "acquire", "number": number, **wanted, "request": ask.request_id})

    def _say(self, message: Message) -> None:
        if self._line is not None:
            self._line.send(message)
