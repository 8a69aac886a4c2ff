"""What the front door hands to the host's APIs, and what it may ask of the host.

Owns: those values. Promises: frozen data. Never: any decision, any I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tickover.host.access import Told, unheard
from tickover.host.acme_challenges import Challenges
from tickover.host.auth import Credentials
from tickover.host.door_body import BodyStore
from tickover.host.door_deadlines import Deadlines
from tickover.host.door_stream import Streamed
from tickover.host.door_upstream import UpstreamPool
from tickover.host.http import Head, Response
from tickover.host.jwks_fetch import KeySets
from tickover.host.model import Leases
from tickover.host.registry import ObjectRegistry
from tickover.host.routes import RouteTable
from tickover.host.session_desk import SessionDesk


@dataclass(frozen=True, slots=True)
class Invocation:
    """The API's answer to an InvokeFunction call: ask this pool. wants_log: X-Fc-Log-Type is Tail."""

    function_name: str
    qualifier: str
    wants_log: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of which function. whole: the body is complete and held, sent with its length."""

    function_name: str
    qualifier: str
    target: str
    whole: bool = False
    event: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """A request with its whole body, for the host's own APIs."""

    head: Head
    body: bytes
    request_id: str


@dataclass(slots=True)
class Fate:
    """Why the host cuts what is open; empty as long as it does not."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class DoorContext:
    """What an exchange may ask."""

    pool: Leases
    registry: ObjectRegistry
    routes: Callable[[], RouteTable]
    api: Callable[[Whole], Awaitable[Response | Invocation]]
    admin: Callable[[Whole], Awaitable[Response | Streamed]]
    verify: Callable[[Whole], None]  # raises HttpError
    credentials: Credentials
    upstreams: UpstreamPool
    sessions: Callable[[], Awaitable[SessionDesk | None]]  # None: another host has them by now
    address: Callable[[], tuple[str, int]]  # where callers come in, whichever host that is
    bodies: BodyStore = field(default_factory=BodyStore)
    deadlines: Deadlines = field(default_factory=Deadlines)
    challenges: Challenges = field(default_factory=Challenges)
    key_sets: KeySets = field(default_factory=KeySets)
    begun: Told = unheard  # told of each exchange that is started
    ended: Told = unheard  # told once of each exchange, at its end
    fate: Fate = field(default_factory=Fate)  # of all the exchanges of one host
