"""The host, put together: store, registry, pool, APIs and front door of one data folder.

Owns: the order in which they start and stop, host.json. Promises: host.json exists exactly while the host
answers. Never: parses arguments, forks.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Protocol

import structlog

from tickover.errors import TickoverError
from tickover.host.access import sample_share
from tickover.host.acme_challenges import Challenges
from tickover.host.acme_desk import CertificateDesk
from tickover.host.acme_plan import acme_settings
from tickover.host.admin import Admin, AdminContext
from tickover.host.api import Api
from tickover.host.api_context import ApiContext, wire_time
from tickover.host.auth import load_or_create_credentials
from tickover.host.clock import SystemClock
from tickover.host.control import Control
from tickover.host.db import Database
from tickover.host.door import Door
from tickover.host.door_body import BodyStore
from tickover.host.door_context import DoorContext, Fate, Invocation, Whole
from tickover.host.door_stream import Streamed
from tickover.host.door_upstream import UpstreamPool
from tickover.host.folder import sign
from tickover.host.handover import NOBODY, Former
from tickover.host.hooks import Account
from tickover.host.http import HttpError, Response
from tickover.host.jwks_fetch import KeySets
from tickover.host.metrics import Metrics
from tickover.host.model import InstanceView, Lease, Pool
from tickover.host.ports import Bound
from tickover.host.registry import ObjectRegistry
from tickover.host.request_reports import RequestReports
from tickover.host.routes import RouteCache
from tickover.host.session_desk import SessionDesk
from tickover.host.session_records import SessionRecords
from tickover.host.store import Store
from tickover.host.succession import Inherited
from tickover.host.switch import Switch
from tickover.host.tls import Certificates
from tickover.host.upkeep import look_for_ever
from tickover.paths import host_dir, nas_dir

log = structlog.get_logger(__name__)

GRACE_SECONDS = 10.0


class HostPool(Pool, Protocol):
    """The pool with what the admin API shows of its drivers."""

    def runtimes(self) -> Mapping[str, str]: ...
    @property
    def metrics(self) -> Metrics: ...

    def stop_seconds(self) -> float:
        """How long ending all instances may take."""
        ...

    def gpus(self) -> tuple[str, ...]: ...
    async def start(self, former: Former = NOBODY) -> None:
        """As `Pool.start`, with what a living former host has told."""
        ...

    async def settle(self, seconds: float) -> None:
        """Wait for a moment in which no instance is in the middle of a short step."""
        ...

    async def hand_over(self) -> Former:
        """Let go of everything but the instances. Raises TickoverError, and goes on."""
        ...

    def assume(self, lease: Lease) -> None:
        """Count a lease that a former host still has."""
        ...


@dataclass(frozen=True, slots=True)
class PoolNeeds:
    """What a pool is made from."""

    registry: ObjectRegistry
    db_path: Path
    data_dir: Path
    nas: Mapping[str, Path]
    account: Account


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One host: its data home, where it listens, extra NAS roots."""

    home: Path
    listen_host: str = "127.0.0.1"
    port: int | None = None
    tls_port: int | None = None  # no TLS without one
    nas: Mapping[str, Path] = field(default_factory=dict)
    allow_remote: bool = False
    grace_seconds: float = GRACE_SECONDS
    access_share: float = field(default_factory=lambda: sample_share(os.environ))

    @property
    def directory(self) -> Path:
        return host_dir(self.home)

    def nas_roots(self) -> dict[str, Path]:
        return {"local": nas_dir(self.home), **self.nas}


def host_version() -> str:
    try:
        return importlib.metadata.version("tickover")
    except importlib.metadata.PackageNotFoundError:
        return "source"


@dataclass(frozen=True, slots=True)
class Core:
    """What acts on the instances and the database; one process at a time has one."""

    store: Store
    registry: ObjectRegistry
    pool: HostPool
    sessions: SessionDesk
    api: Api
    admin: Admin


class Host:
    """A host that runs in this process until told to stop, or until another one has taken over.

    lock: of the data folder; without it there is no hand-over. inherited: what a former host has offered.
    """

    def __init__(
        self,
        settings: HostSettings,
        bound: Bound,
        make_pool: Callable[[PoolNeeds], HostPool],
        lock: IO[str] | None = None,
        inherited: Inherited | None = None,
        tls: Bound | None = None,
    ) -> None:
        self._settings = settings
        self._bound = bound
        self._make_pool = make_pool
        self._lock = lock
        self._inherited = inherited
        self._tls = tls
        self._challenges = Challenges()
        self._issuing = CertificateDesk(
            acme_settings(os.environ), settings.directory, self._challenges, lambda: self._core.registry
        )
        self._certificates = Certificates(
            lambda: self._core.registry, self._issuing, self._challenges.context
        )
        self._stop = asyncio.Event()
        self._keep_instances = False
        self._fate = Fate()
        self._why_cut = "the host stops"
        self._switch = Switch()
        self._upstreams = UpstreamPool()
        self._key_sets = KeySets()
        self._reports = RequestReports(settings.directory / "access.log", settings.access_share)
        self._control: Control | None = None
        self._started_ns = time.time_ns()
        self.url = _url(settings.listen_host, bound.port)

    def request_stop(self, keep_instances: bool = False) -> None:
        self._keep_instances = keep_instances
        self._stop.set()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Serve until `request_stop`; ready is called once with what host.json says."""
        directory, inherited = self._settings.directory, self._inherited
        self._credentials = load_or_create_credentials(directory / "credentials.json")
        self._core = await self._begin(inherited.former if inherited else NOBODY)
        self._door = Door(self._context())
        self._reports.start()
        looking = asyncio.get_running_loop().create_task(look_for_ever(directory / "logs", self._seen))
        self._control = Control(self, directory, self._switch, self._door) if self._lock else None
        is_ours = inherited is None
        try:
            if inherited is not None and self._control is not None:
                await self._control.confirm(inherited)
                is_ours = True
            await self._door.open(self._bound.sock.dup())
            self._accept_tls()
            self._issuing.start()
            facts = self._sign()
            log.info("ready", url=self.url, note=self._bound.note)
            if self._control is not None:
                self._control.open()
            if inherited is not None:
                inherited.serves()
            ready(facts)
            await self._stop.wait()
            log.info("stopping", keep_instances=self._keep_instances)
        finally:
            looking.cancel()
            is_ours = is_ours and not (self._control is not None and self._control.is_over)
            await self._end(is_ours)

    async def _end(self, is_ours: bool) -> None:
        """is_ours: neither has another one taken over from us, nor were we told to take over and have not."""
        if self._control is not None:
            self._control.shut()
        if is_ours:
            (self._settings.directory / "host.json").unlink(missing_ok=True)
        await self._issuing.close()
        await self._door.close(self._settings.grace_seconds, self._why_cut)
        await self._reports.close()
        if self._control is not None:
            self._control.close()
        if self._control is None or not self._control.is_over:
            await self._core.sessions.close()
            await self._core.pool.stop(keep_instances=self._keep_instances or not is_ours)
            self._core.store.close()
        log.info("stopped")

    async def _begin(self, former: Former) -> Core:
        """Act on the instances and the database from now on."""
        settings, directory = self._settings, self._settings.directory
        async with contextlib.AsyncExitStack() as undo:
            store = Store(directory / "host.db")
            undo.callback(store.close)
            sessions = SessionDesk(SessionRecords(Database(directory / "host.db")), SystemClock())
            undo.push_async_callback(sessions.close)
            registry = ObjectRegistry(store)
            account = Account(self._credentials.region, self._credentials.account_id)
            needs = PoolNeeds(registry, directory / "host.db", directory, settings.nas_roots(), account)
            pool = self._make_pool(needs)
            pool.follow_sessions(sessions.table.count)
            await pool.start(former)
            undo.pop_all()
        sessions.open()
        self._switch.decide(pool)
        return self._with_apis(store, registry, pool, sessions)

    # -- for the hand-over -----------------------------------------------------------------------------

    @property
    def pool(self) -> HostPool:
        return self._core.pool

    async def let_go(self) -> Former:
        """Act on neither any more. Raises TickoverError, and goes on."""
        self._switch.hold()
        self._door.pause()
        try:
            former = await self._core.pool.hand_over()
        except TickoverError:
            await self._door.accept(self._bound.sock.dup())
            self._accept_tls()
            self._switch.decide(self._core.pool)
            raise
        await self._issuing.close()
        await self._core.sessions.close()
        self._core.store.close()
        return former

    async def go_on(self, former: Former) -> None:
        """Nobody has taken over: be the owner again."""
        self._core = await self._begin(former)
        self._door.context = self._context()
        await self._door.accept(self._bound.sock.dup())
        self._accept_tls()
        self._issuing.start()
        self._sign()
        log.warning("the hand-over has failed; this host goes on")

    def facts(self) -> dict[str, Any]:
        """How a successor has to be set up."""
        settings = self._settings
        return {
            "listen_host": settings.listen_host,
            "port": self._bound.port,
            "tls_port": self._tls.port if self._tls is not None else None,
            "note": self._bound.note,
            "nas": {name: str(folder) for name, folder in settings.nas.items()},
            "allow_remote": settings.allow_remote,
            "grace_seconds": settings.grace_seconds,
            "environment": dict(os.environ),
        }

    def descriptors(self) -> tuple[int, Sequence[int]]:
        """The lock's, and those of the sockets that callers come through."""
        if self._lock is None:
            raise ValueError("a host without a lock hands nothing over. This is a bug in tickover.")
        sockets = [self._bound.sock] if self._tls is None else [self._bound.sock, self._tls.sock]
        return self._lock.fileno(), tuple(sock.fileno() for sock in sockets)

    async def taken_over(self, seconds: float) -> None:
        """Another process owns all but the open connections: finish those, and end."""
        self._bound.sock.close()
        if self._tls is not None:
            self._tls.sock.close()
        if self._lock is not None:
            self._lock.close()  # the successor has it too
        log.info("taken over; finishing what is open", at_most_seconds=seconds)
        left = await self._door.finish(seconds)
        if left:
            log.warning("connections are cut: they are older than a former host may be", connections=left)
        self._why_cut = f"the host was replaced, and {seconds:g} seconds later this was still open"
        self._settings = replace(self._settings, grace_seconds=0.0)
        self._stop.set()

    def _accept_tls(self) -> None:
        if self._tls is not None:
            self._door.accept_tls(self._tls.sock.dup(), self._certificates.choose)

    # -- inside ----------------------------------------------------------------------------------------

    def _with_apis(
        self, store: Store, registry: ObjectRegistry, pool: HostPool, sessions: SessionDesk
    ) -> Core:
        self._reports.show(registry, pool)
        for counted in (self._key_sets.fetches, self._issuing.orders, self._issuing.expiry):
            pool.metrics.registry.register(counted)

        def changed() -> None:
            pool.notify()
            self._issuing.wake()

        api = Api(
            ApiContext(
                registry,
                pool,
                self._credentials,
                self._settings.nas_roots(),
                lambda: self.url,
                time.time_ns,
                changed,
                sessions,
                has_acme=self._issuing.settings is not None,
            )
        )
        admin = Admin(
            AdminContext(
                registry=registry,
                pool=pool,
                credentials=self._credentials,
                base_url=lambda: self.url,
                now_ns=time.time_ns,
                started_ns=self._started_ns,
                version=host_version(),
                runtimes=pool.runtimes,
                metrics=pool.metrics.page,
                stop_seconds=lambda: pool.stop_seconds() + self._settings.grace_seconds,
                gpus=pool.gpus,
                certificates=self._issuing.report,
                former=lambda: self._control.former_hosts() if self._control else [],
                shutdown=self.request_stop,
                folder=self._settings.directory,
                is_over=lambda: self._stop.is_set() or not self._switch.is_with(pool),
            )
        )
        return Core(store, registry, pool, sessions, api, admin)

    def _context(self) -> DoorContext:
        """What the front door may ask; the APIs answer once it is decided who owns what they speak of."""
        core = self._core

        async def api(whole: Whole) -> Response | Invocation:
            await self._owned()
            return await self._core.api.handle(whole)

        async def admin(whole: Whole) -> Response | Streamed:
            await self._owned()
            return await self._core.admin.handle(whole)

        async def sessions() -> SessionDesk | None:
            return self._core.sessions if await self._switch.owner() is self._core.pool else None

        return DoorContext(
            pool=self._switch,
            registry=core.registry,
            routes=RouteCache(core.registry).current,
            api=api,
            admin=admin,
            verify=core.api.check_signature,
            credentials=self._credentials,
            upstreams=self._upstreams,
            bodies=BodyStore(self._settings.directory),
            sessions=sessions,
            challenges=self._challenges,
            key_sets=self._key_sets,
            address=lambda: (_reachable(self._settings.listen_host), self._bound.port),
            begun=self._reports.begun,
            ended=self._reports.ended,
            fate=self._fate,
        )

    async def _owned(self) -> None:
        """Wait until this host owns the instances. Raises HttpError if another one does."""
        if await self._switch.owner() is not self._core.pool:
            raise HttpError(503, "ServiceUnavailable", "this host was replaced by a new one; ask again", 1)

    def _seen(self) -> tuple[InstanceView, ...]:
        """The instances, while they are this host's."""
        pool = self._core.pool
        return pool.instances() if self._switch.is_with(pool) else ()

    def _sign(self) -> dict[str, Any]:
        """Write down who serves here, for the command line."""
        facts = {
            "pid": os.getpid(),
            "url": self.url,
            "tls_port": self._tls.port if self._tls is not None else None,
            "started_at": wire_time(self._started_ns),
            "version": host_version(),
            "note": self._bound.note,
        }
        path = self._settings.directory / "host.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
        if self._lock is not None:
            sign(self._lock)
        return facts


def _reachable(listen_host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(listen_host, listen_host)


def _url(listen_host: str, port: int) -> str:
    host = _reachable(listen_host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{port}"
