"""One host after another: the hand-over as both sides go through it.

Owns: the order of the steps, and who may act when one side falls silent. Promises: at each moment one
process at most acts on the instances and the database. The former host lets go of both before it offers
them, and goes on only after its successor has ended, if need be by its hand; the successor goes on only
when the former host has said so, or has ended. Never: lets go of a request.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from tickover.errors import TickoverError, error_from_json
from tickover.host.guests import Guest
from tickover.host.handover import PROTOCOL, Former, Held, former_from, former_json
from tickover.host.line import LineEnded, Message, Peer, Talk, call, close_all, peer_of

log = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 10.0
OFFER_SECONDS: Final = SETTLE_SECONDS + 30.0  # until the former host has let go
TAKE_SECONDS: Final = 30.0  # until the successor has taken over
END_SECONDS: Final = 3.0  # for a process that has no reason to go on
MAX_AGE_SECONDS: Final = 86_400.0


# -- the former host ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estate:
    """What is handed over. sockets: those that callers come through. facts: how the host is set up."""

    former: Former
    held: tuple[Held, ...]
    sockets: Sequence[int]
    lock: int
    facts: Mapping[str, Any]


class Owner(Protocol):
    """The host that hands over."""

    async def settle(self, seconds: float) -> None:
        """Wait for a good moment, while all goes on."""
        ...

    async def let_go(self) -> Estate:
        """Act on nothing any more; open connections go on. Raises TickoverError if it cannot, and goes on."""
        ...

    async def step_aside(self, talk: Talk) -> None:
        """Have the successor begin, and wait until it serves. Raises LineEnded."""
        ...

    async def go_on(self, former: Former) -> None:
        """Nobody has taken over: be the owner again, after `step_aside` too."""
        ...


async def hand_over(owner: Owner, talk: Talk, peer: Peer) -> bool:
    """Offer everything to who has asked. True: it serves, and we own nothing any more. False: we go on."""
    await owner.settle(SETTLE_SECONDS)
    try:
        estate = await owner.let_go()
    except TickoverError as error:
        refuse(talk, error)
        return False
    try:
        _offer(talk, estate)
        message, files = await talk.hear(TAKE_SECONDS)
        close_all(files)
        if message.get("do") == "taken":
            async with asyncio.timeout(TAKE_SECONDS):
                await owner.step_aside(talk)
            return True
    except (LineEnded, TimeoutError, OSError) as error:
        log.warning("the successor has not taken over", pid=peer.pid, reason=repr(error))
    talk.close()
    await _see_end(peer)
    await owner.go_on(estate.former)
    return False


def refuse(talk: Talk, error: TickoverError) -> None:
    talk.line.send({"do": "refused", "error": error.as_json()})


def _offer(talk: Talk, estate: Estate) -> None:
    memory = os.memfd_create("tickover-estate", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(memory), "w", encoding="utf-8") as file:
        json.dump({**former_json(estate.former, estate.held), "facts": dict(estate.facts)}, file)
    files = [memory, os.dup(estate.lock), *(os.dup(descriptor) for descriptor in estate.sockets)]
    talk.line.send({"do": "offer"}, files)


async def _see_end(peer: Peer) -> None:
    """Go on only when whoever may have begun to act has ended: it ends by itself when it is hung up on."""
    if await asyncio.to_thread(peer.is_gone, END_SECONDS):
        return
    log.warning("the successor is ended", pid=peer.pid)
    signal.pidfd_send_signal(peer.process, signal.SIGKILL)
    while not await asyncio.to_thread(peer.is_gone, END_SECONDS):
        log.error("the successor does not end", pid=peer.pid)


# -- its successor -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a successor was offered, and the line to the former host."""

    former: Former
    held: tuple[Held, ...]
    sockets: tuple[socket.socket, ...]
    lock: int
    facts: Mapping[str, Any]
    talk: Talk
    peer: Peer

    async def confirm(self, guest: Guest) -> None:
        """Tell that we act from now on, and hear that the former host does not. Raises TickoverError.

        What its callers wait for is heard before its word: they keep their place before newcomers.
        """
        guest.joined(self.talk.line, self.peer)
        self.talk.line.send({"do": "taken"})
        try:
            while True:
                message, files = await self.talk.hear(TAKE_SECONDS)
                if message.get("do") == "go":
                    break
                guest.heard(message, files)
        except (LineEnded, TimeoutError) as error:
            if not await asyncio.to_thread(self.peer.is_gone, END_SECONDS / 2):
                raise _not_taken("the former host has taken it back; it goes on") from error
            log.warning("the former host has ended while it handed over", pid=self.peer.pid)
            self.talk.hand_to(guest.heard, guest.ended)
            return
        finally:
            self.peer.close()
        self.talk.hand_to(guest.heard, guest.ended)

    def serves(self) -> None:
        """Tell that callers and hosts to come are heard here: from now on there is no way back."""
        self.talk.line.send({"do": "serving"})


async def ask_for(folder: Path, wish: Message) -> Inherited:
    """Have the host of a data folder hand over to this process. Raises TickoverError."""
    try:
        sock = call(folder)
    except OSError as error:
        raise _not_taken(f"the host of {folder} cannot be called: {error.strerror or error}") from error
    try:
        peer = peer_of(sock)
    except OSError as error:
        sock.close()
        raise _not_taken(f"the host of {folder} is not to be trusted: {error.strerror or error}") from error
    talk = Talk(sock)
    try:
        talk.line.send({"do": "take_over", "protocol": PROTOCOL, **wish})
        message, files = await talk.hear(OFFER_SECONDS)
        if message.get("do") != "offer":
            close_all(files)
            raise error_from_json(message["error"])
        return _read_offer(files, talk, peer)
    except (LineEnded, TimeoutError) as error:
        talk.close()
        peer.close()
        raise _not_taken("the running host has not offered its instances") from error
    except BaseException:
        talk.close()
        peer.close()
        raise


def _read_offer(files: list[int], talk: Talk, peer: Peer) -> Inherited:
    memory, lock, *listening = files
    sockets = tuple(socket.socket(fileno=descriptor) for descriptor in listening)
    with os.fdopen(memory, encoding="utf-8") as file:
        file.seek(0)
        found = json.load(file)
    former, held = former_from(found)
    return Inherited(former, held, sockets, lock, found["facts"], talk, peer)


def _not_taken(why: str) -> TickoverError:
    return TickoverError(
        "host-not-upgraded",
        "Host was not upgraded",
        f"No hand-over: {why}.",
        hint="tickover host status    # the former host, if it still runs, goes on as before",
    )
