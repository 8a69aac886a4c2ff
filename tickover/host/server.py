"""The host, put together: store, registry, pool, APIs and front door of one data folder.

Owns: the order in which they start and stop, the lock on the data folder, host.json. Promises: one host
per data folder; host.json exists exactly while the host answers. Never: parses arguments, forks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import importlib.metadata
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import structlog

from tickover.errors import Exit, TickoverError
from tickover.host.admin import Admin, AdminContext
from tickover.host.api import Api
from tickover.host.api_context import ApiContext, wire_time
from tickover.host.auth import Credentials, load_or_create_credentials
from tickover.host.clock import SystemClock
from tickover.host.db import Database
from tickover.host.door import Door
from tickover.host.door_context import DoorContext
from tickover.host.door_upstream import UpstreamPool
from tickover.host.hooks import Account
from tickover.host.metrics import Metrics
from tickover.host.model import Pool
from tickover.host.ports import Bound
from tickover.host.registry import ObjectRegistry
from tickover.host.routes import RouteCache
from tickover.host.session_desk import SessionDesk
from tickover.host.session_records import SessionRecords
from tickover.host.store import Store
from tickover.paths import host_dir, nas_dir

log = structlog.get_logger(__name__)

GRACE_SECONDS = 10.0
LOCK_SECONDS = 0.5


class HostPool(Pool, Protocol):
    """The pool with what the admin API shows of its drivers."""

    def runtimes(self) -> Mapping[str, str]: ...
    @property
    def metrics(self) -> Metrics: ...

    def stop_seconds(self) -> float:
        """How long ending all instances may take."""
        ...

    def gpus(self) -> tuple[str, ...]: ...


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
    nas: Mapping[str, Path] = field(default_factory=dict)
    allow_remote: bool = False
    grace_seconds: float = GRACE_SECONDS

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


def prepare(settings: HostSettings) -> None:
    """Make the data folders, or say why that cannot be."""
    try:
        settings.directory.mkdir(parents=True, exist_ok=True)
        (settings.directory / "logs").mkdir(exist_ok=True)
        nas_dir(settings.home).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.directory) as probe:
            probe.write(b"x" * 4096)
            probe.flush()
    except OSError as err:
        raise unwritable(settings.directory, err) from err


def unwritable(path: Path, err: OSError) -> TickoverError:
    """A data folder that cannot be used, as a person can act on it."""
    if err.errno == errno.ENOSPC:
        return TickoverError(
            "disk-full",
            "No space left on disk",
            f"Writing in {path} failed: {err.strerror}.",
            hint=f"df -h {path}    # free some space, then try again",
            exit_code=Exit.RESOURCE,
        )
    return TickoverError(
        "data-dir-unwritable",
        "Host data folder cannot be written",
        f"Writing in {path} failed: {err.strerror or err}.",
        hint=f"ls -ld {path}    # give yourself write access, or set TICKOVER_HOME",
        exit_code=Exit.RESOURCE,
    )


@contextlib.contextmanager
def single_host(directory: Path) -> Iterator[None]:
    """Hold the lock of a data folder, or say who holds it."""
    lock = open_lock(directory)
    try:
        if not _locked(lock):
            raise TickoverError(
                "host-running",
                "Host is running already",
                f"Process {lock.read().strip() or 'unknown'} serves {directory}.",
                hint="tickover host status",
            )
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
    finally:
        lock.close()


def _locked(lock: IO[str]) -> bool:
    """Take the lock; somebody who only looks whether a host runs holds it for an instant."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)


def open_lock(directory: Path) -> IO[str]:
    """The lock file, opened for reading and writing, created if need be."""
    try:
        return os.fdopen(os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")
    except OSError as err:
        raise unwritable(directory, err) from err


class Host:
    """A host that runs in this process until told to stop."""

    def __init__(
        self, settings: HostSettings, bound: Bound, make_pool: Callable[[PoolNeeds], HostPool]
    ) -> None:
        self._settings = settings
        self._bound = bound
        self._make_pool = make_pool
        self._stop = asyncio.Event()
        self._keep_instances = False
        self.url = _url(settings.listen_host, bound.port)

    def request_stop(self, keep_instances: bool = False) -> None:
        self._keep_instances = keep_instances
        self._stop.set()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Serve until `request_stop`; ready is called once with what host.json says."""
        settings = self._settings
        directory = settings.directory
        credentials = load_or_create_credentials(directory / "credentials.json")
        store = Store(directory / "host.db")
        with contextlib.closing(store):
            registry = ObjectRegistry(store)
            pool = self._make_pool(
                PoolNeeds(
                    registry,
                    directory / "host.db",
                    directory,
                    settings.nas_roots(),
                    Account(credentials.region, credentials.account_id),
                )
            )
            started_ns = time.time_ns()
            sessions = SessionDesk(SessionRecords(Database(directory / "host.db")), SystemClock())
            pool.follow_sessions(sessions.table.count)
            door = self._door(registry, pool, credentials, started_ns, sessions)
            await pool.start()
            sessions.open()
            try:
                await door.open(self._bound.sock)
                self._announce(ready, started_ns)
                await self._stop.wait()
                log.info("stopping", keep_instances=self._keep_instances)
            finally:
                (directory / "host.json").unlink(missing_ok=True)
                await door.close(settings.grace_seconds)
                await sessions.close()
                await pool.stop(keep_instances=self._keep_instances)
                log.info("stopped")

    def _door(
        self,
        registry: ObjectRegistry,
        pool: HostPool,
        credentials: Credentials,
        started_ns: int,
        sessions: SessionDesk,
    ) -> Door:
        """The front door with both APIs behind it."""
        api = Api(
            ApiContext(
                registry,
                pool,
                credentials,
                self._settings.nas_roots(),
                lambda: self.url,
                time.time_ns,
                pool.notify,
                sessions,
            )
        )
        admin = Admin(
            AdminContext(
                registry=registry,
                pool=pool,
                credentials=credentials,
                base_url=lambda: self.url,
                now_ns=time.time_ns,
                started_ns=started_ns,
                version=host_version(),
                runtimes=pool.runtimes,
                metrics=pool.metrics.page,
                stop_seconds=lambda: pool.stop_seconds() + self._settings.grace_seconds,
                gpus=pool.gpus,
                shutdown=self.request_stop,
            )
        )
        return Door(
            DoorContext(
                pool=pool,
                registry=registry,
                routes=RouteCache(registry).current,
                api=api.handle,
                admin=admin.handle,
                verify=api.check_signature,
                credentials=credentials,
                upstreams=UpstreamPool(),
                sessions=sessions,
            )
        )

    def _announce(self, ready: Callable[[dict[str, Any]], None], started_ns: int) -> None:
        facts = {
            "pid": os.getpid(),
            "url": self.url,
            "started_at": wire_time(started_ns),
            "version": host_version(),
            "note": self._bound.note,
        }
        path = self._settings.directory / "host.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
        log.info("ready", url=self.url, note=self._bound.note)
        ready(facts)


def _url(listen_host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "localhost": "127.0.0.1"}.get(listen_host, listen_host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{port}"
