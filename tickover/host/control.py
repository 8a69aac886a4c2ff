"""What other host processes may ask of this one: to hand over, or to count the requests that they still have.

Owns: the control socket of a host, its guests, and whether it was replaced. Promises: one hand-over at a
time; whoever was replaced answers nobody any more. Never: acts on an instance.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from tickover.errors import TickoverError
from tickover.host.door import Door
from tickover.host.elsewhere import Elsewhere
from tickover.host.guests import Guests
from tickover.host.handover import PROTOCOL, Former, Held, lease_from
from tickover.host.line import LineEnded, Listener, Message, Peer, Talk, close_all
from tickover.host.model import Lease
from tickover.host.succession import (
    ANSWER_SECONDS,
    MAX_AGE_SECONDS,
    Estate,
    Inherited,
    hand_over,
    refuse,
)
from tickover.host.switch import Switch

log = structlog.get_logger(__name__)


class _Pool(Protocol):
    async def settle(self, seconds: float) -> None: ...
    def assume(self, lease: Lease) -> None: ...


class Controlled(Protocol):
    """The host, as this module needs it."""

    @property
    def pool(self) -> _Pool: ...
    async def let_go(self) -> Former: ...
    async def go_on(self, former: Former) -> None: ...
    async def taken_over(self, seconds: float) -> None: ...
    def facts(self) -> dict[str, Any]: ...
    def descriptors(self) -> tuple[int, Sequence[int]]: ...


class Control:
    """The control socket; also `tickover.host.succession.Owner` for the host that it is of."""

    def __init__(self, host: Controlled, folder: Path, switch: Switch, door: Door) -> None:
        self._host = host
        self._folder = folder
        self._switch = switch
        self._door = door
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"  # of this process, for hosts to come
        self._guests = Guests(switch, self._take, lambda lease: self._host.pool.assume(lease))
        self._listener: Listener | None = None
        self._elsewhere: Elsewhere | None = None
        self._own: dict[int, Lease] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_busy = False

    @property
    def is_over(self) -> bool:
        """Another host has taken over from this one."""
        return self._elsewhere is not None

    def open(self) -> None:
        self._listener = Listener(self._folder, self._answer)

    async def confirm(self, inherited: Inherited) -> None:
        """Take over what was offered, with the former host as the first guest. Raises TickoverError."""
        self._guests.expect(inherited.held)
        await inherited.confirm(self._guests.of(str(inherited.facts["holder"])))

    def former_hosts(self) -> list[dict[str, Any]]:
        return self._guests.facts()

    def shut(self) -> None:
        """Nobody can call any more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        self.shut()
        for task in self._tasks:
            task.cancel()
        self._guests.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    # -- succession.Owner ------------------------------------------------------------------------------

    async def settle(self, seconds: float) -> None:
        await self._host.pool.settle(seconds)

    async def let_go(self) -> Estate:
        self._guests.rest()
        try:
            former = await self._host.let_go()
        except TickoverError:
            self._guests.wait()
            raise
        kept = self._guests.held()
        of_guests = {id(held.lease) for held in kept}
        own = [lease for lease in former.leases if id(lease) not in of_guests]
        self._own = dict(enumerate(own, 1))
        held = (*kept, *(Held(self._name, number, lease) for number, lease in self._own.items()))
        lock, sockets = self._host.descriptors()
        return Estate(former, held, sockets, lock, {**self._host.facts(), "holder": self._name})

    async def step_aside(self, talk: Talk) -> None:
        """Those who wait for an instance ask the successor before it hears that it may begin."""
        self._elsewhere = elsewhere = Elsewhere(self._folder, self._name, self._own)
        elsewhere.connected(talk.hand_to(elsewhere.heard, elsewhere.ended))
        self.shut()
        self._switch.decide(elsewhere)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        talk.line.send({"do": "go"})
        await elsewhere.serving()

    async def go_on(self, former: Former) -> None:
        elsewhere, self._elsewhere = self._elsewhere, None
        if elsewhere is not None:
            self._switch.hold()
            own = {id(lease) for lease in self._own.values()}
            of_guests = tuple(lease for lease in former.leases if id(lease) not in own)
            former = replace(former, leases=of_guests + elsewhere.leases())
            elsewhere.give_up()
        await self._host.go_on(former)
        self._guests.wait()
        self.shut()
        self.open()

    # -- who calls -------------------------------------------------------------------------------------

    def _answer(self, sock: socket.socket, peer: Peer) -> None:
        self._do(self._converse(Talk(sock), peer))

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a control connection failed", exc_info=error)

    def _take(self, descriptor: int) -> None:
        self._do(self._door.adopt(descriptor))

    async def _converse(self, talk: Talk, peer: Peer) -> None:
        is_kept = False
        try:
            message, files = await talk.hear(ANSWER_SECONDS)
            close_all(files)
            if message["do"] == "take_over":
                is_kept = await self._replace(talk, peer, message)
            elif message["do"] == "rejoin" and not self._is_busy:
                is_kept = await self._rejoin(talk, peer, str(message["holder"]))
        except (LineEnded, TimeoutError, KeyError, TypeError, ValueError) as error:
            log.warning("a control connection made no sense", pid=peer.pid, reason=repr(error))
        finally:
            peer.close()
            if not is_kept:
                talk.close()

    async def _rejoin(self, talk: Talk, peer: Peer, holder: str) -> bool:
        named: dict[int, Lease] = {}
        while True:
            message, files = await talk.hear(ANSWER_SECONDS)
            close_all(files)
            if message["do"] == "rejoined":
                break
            named[int(message["number"])] = lease_from(message["lease"])
        if self._is_busy:  # it calls again when it is decided who is to be called
            return False
        guest = self._guests.rejoin(holder, named, talk.line, peer)
        talk.hand_to(guest.heard, guest.ended)
        log.info("a former host finishes its requests here", holder=holder, requests=len(named))
        return True

    async def _replace(self, talk: Talk, peer: Peer, wish: Message) -> bool:
        refusal = self._refusal(wish)
        if refusal is not None:
            refuse(talk, refusal)
            return False
        self._is_busy = True
        log.info("handing over", pid=peer.pid)
        try:
            if not await hand_over(self, talk, peer):
                return False
        finally:
            self._is_busy = False
        if self._elsewhere is not None:
            self._over(self._elsewhere, float(wish.get("max_age_seconds", MAX_AGE_SECONDS)))
        return True

    def _refusal(self, wish: Message) -> TickoverError | None:
        if wish.get("protocol") != PROTOCOL:
            return TickoverError(
                "handover-protocol",
                "Hosts do not understand each other",
                f"The running host hands over by protocol {PROTOCOL}, not {wish.get('protocol')}.",
                hint="tickover host stop --keep-instances && tickover host start    # with a short gap",
            )
        if self._is_busy:
            return TickoverError(
                "handover-busy",
                "Host is being replaced already",
                "It hands over to another process just now.",
                hint="tickover host status",
            )
        return None

    def _over(self, elsewhere: Elsewhere, max_age_seconds: float) -> None:
        """Another host serves: give it each connection as soon as nothing is open on it."""
        self._guests.close()
        # Instances are children of this process: nobody waits for their ends here any more.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self._door.pass_on(elsewhere.pass_on)
        self._do(self._host.taken_over(max_age_seconds))
