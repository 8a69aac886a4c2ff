"""`tickover host run`: the host in the foreground, and as the child that `tickover host start` spawns.

Owns: the process: event loop, signals, log, exit code. Promises: SIGTERM and SIGINT drain and stop; a
failure to start is one clear error and the exit code of its class. Never: daemonises.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
import uvloop

from tickover.errors import ConfigError, Exit, TickoverError, render
from tickover.host.folder import prepare, single_host, unwritable
from tickover.host.ports import Bound, bind, bind_tls, check_listen, close_bound
from tickover.host.server import (
    Host,
    HostPool,
    HostSettings,
    PoolNeeds,
    host_version,
)
from tickover.host.store import database_error
from tickover.host.succession import MAX_AGE_SECONDS, ask_for
from tickover.paths import host_dir

log = structlog.get_logger(__name__)
PoolMaker = Callable[[PoolNeeds], HostPool]
Announce = Callable[[dict[str, Any]], None]


def run_host(settings: HostSettings, announce: Announce) -> None:
    """Serve until a signal or the admin API ends it. Raises TickoverError when it cannot start."""
    check_listen(settings.listen_host, allow_remote=settings.allow_remote)
    prepare(settings.home)
    with single_host(settings.directory) as lock:
        tls = bind_tls(settings.listen_host, settings.tls_port)
        try:
            bound = bind(settings.listen_host, settings.port, settings.directory / "port")
        except TickoverError:
            close_bound(tls)
            raise
        try:
            uvloop.run(_serve(Host(settings, bound, pool_maker(), lock, tls=tls), announce))
        except sqlite3.Error as err:
            raise database_error(settings.directory / "host.db", err) from err
        except OSError as err:
            raise unwritable(settings.directory, err) from err
        finally:
            bound.sock.close()
            close_bound(tls)


def take_over(home: Path, max_age_seconds: float, announce: Announce) -> None:
    """Serve in the place of the running host, which finishes what it has. Raises TickoverError."""
    maker = pool_maker()  # before the running host is asked to let go
    try:
        uvloop.run(_succeed(host_dir(home), home, max_age_seconds, maker, announce))
    except sqlite3.Error as err:
        raise database_error(host_dir(home) / "host.db", err) from err
    except OSError as err:
        raise unwritable(host_dir(home), err) from err


async def _succeed(
    directory: Path, home: Path, max_age_seconds: float, maker: PoolMaker, announce: Announce
) -> None:
    inherited = await ask_for(directory, {"max_age_seconds": max_age_seconds, "version": host_version()})
    facts = inherited.facts
    _become(facts["environment"])
    settings = HostSettings(
        home=home,
        listen_host=facts["listen_host"],
        tls_port=facts.get("tls_port"),
        nas={name: Path(folder) for name, folder in facts["nas"].items()},
        allow_remote=facts["allow_remote"],
        grace_seconds=facts["grace_seconds"],
    )
    sock, *others = inherited.sockets
    tls = Bound(others[0], facts["tls_port"]) if others else None
    try:
        with os.fdopen(inherited.lock, "r+", encoding="ascii") as lock, contextlib.closing(sock):
            bound = Bound(sock, facts["port"], facts["note"])
            await _serve(Host(settings, bound, maker, lock, inherited, tls), announce)
    finally:
        close_bound(tls)
        inherited.talk.close()


def _become(environment: Mapping[str, str]) -> None:
    """Go on in the former host's environment, which instances get a part of; but with our own Python."""
    ours = {name: value for name, value in os.environ.items() if _is_of_python(name)}
    theirs = {name: value for name, value in environment.items() if not _is_of_python(name)}
    os.environ.clear()
    os.environ.update(theirs | ours)


def _is_of_python(name: str) -> bool:
    return name.startswith("PYTHON") or name == "VIRTUAL_ENV"


async def _serve(host: Host, announce: Announce) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.request_stop)
    await host.run(announce)


def pool_maker() -> PoolMaker:
    """The real pool's; what takes its time (loading drivers, looking for cards) is done when this returns."""
    from tickover.host.cards import find_gpus
    from tickover.host.pool import ReservedPool
    from tickover.host.runtimes.cgroup_ground import VARIABLE as CGROUP_VARIABLE
    from tickover.host.runtimes.docker import DockerRuntime
    from tickover.host.runtimes.docker_config import DockerSettings, engine_address
    from tickover.host.runtimes.docker_pins import FilePins
    from tickover.host.runtimes.process import ProcessRuntime

    gpus = find_gpus()

    def make(needs: PoolNeeds) -> HostPool:
        owner = str(needs.data_dir.resolve())
        pins = FilePins(needs.data_dir / "images.json")
        docker = DockerRuntime(DockerSettings(owner, engine_address(os.environ)), pins)
        return ReservedPool(
            needs.registry,
            needs.db_path,
            needs.data_dir,
            needs.nas,
            runtimes=(ProcessRuntime(owner, os.environ.get(CGROUP_VARIABLE, "")), docker),
            gpus=gpus,
            account=needs.account,
        )

    # Modules are not garbage: a full collection that looks at them too stops every stream for 35 ms.
    gc.freeze()
    return make


def configure_log() -> None:
    """Structured lines on stderr, which is host.log for a host started in the background."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def parse_nas(values: Sequence[str]) -> dict[str, Path]:
    """``NAME=DIR`` arguments as a map of absolute folders."""
    found: dict[str, Path] = {}
    for value in values:
        name, equals, folder = value.partition("=")
        if not name or not equals or not folder or ":" in name:
            raise ConfigError(
                "nas-argument", "NAS argument is not NAME=DIR", f"--nas {value!r} names no folder."
            )
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise ConfigError(
                "nas-folder-absent", "NAS folder does not exist", f"--nas {name}: no folder {path}."
            )
        found[name] = path
    return found


def parse_listen(value: str) -> tuple[str, int | None]:
    """``HOST``, ``HOST:PORT``, ``[::1]:PORT`` or ``:PORT``."""
    host, colon, port = value.rpartition(":")
    if not colon or value.endswith("]"):
        host, port = value, ""
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(
            "listen-argument", "Listen address is not HOST:PORT", f"{value!r} has no usable port."
        )
    return host.strip("[]") or "127.0.0.1", int(port) if port else None


def settings_from(arguments: argparse.Namespace) -> HostSettings:
    host, port = parse_listen(arguments.listen)
    return HostSettings(
        home=Path(arguments.home).resolve(),
        listen_host=host,
        port=arguments.port if arguments.port is not None else port,
        tls_port=arguments.tls_port,
        nas=parse_nas(arguments.nas),
        allow_remote=arguments.allow_remote,
        grace_seconds=arguments.grace_seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tickover.host.main")
    run = parser.add_subparsers(dest="command", required=True).add_parser(
        "run", help="serve in the foreground"
    )
    run.add_argument("--home", required=True, help="data home (.tickover)")
    run.add_argument("--listen", default="127.0.0.1", metavar="HOST[:PORT]")
    run.add_argument("--port", type=int)
    run.add_argument("--tls-port", type=int, help="serve custom domains over HTTPS here; 0 for not at all")
    run.add_argument("--nas", action="append", default=[], metavar="NAME=DIR")
    run.add_argument("--allow-remote", action="store_true")
    run.add_argument(
        "--grace-seconds", type=float, default=HostSettings.__dataclass_fields__["grace_seconds"].default
    )
    run.add_argument("--take-over", action="store_true", help="from the running host, as it is set up")
    run.add_argument(
        "--max-age-seconds",
        type=float,
        default=MAX_AGE_SECONDS,
        help="how long the host that was taken over may go on with its connections",
    )
    run.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    return parser


def _teller(descriptor: int | None) -> Announce:
    """How the starter hears of success or failure: one JSON line on a pipe."""

    def tell(facts: dict[str, Any]) -> None:
        nonlocal descriptor
        if descriptor is None:
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:
            pipe.write(json.dumps(facts) + "\n")
        descriptor = None

    return tell


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code of the process."""
    arguments = _parser().parse_args(argv)
    configure_log()
    tell = _teller(arguments.ready_fd)
    began = time.monotonic()
    try:
        if arguments.take_over:
            take_over(Path(arguments.home).resolve(), arguments.max_age_seconds, tell)
        else:
            run_host(settings_from(arguments), tell)
    except TickoverError as err:
        sys.stderr.write(f"error: {render(err)}\n")
        tell({"error": err.as_json()})
        return int(err.exit_code)
    log.info("ended", after_seconds=round(time.monotonic() - began, 1))
    return int(Exit.OK)


if __name__ == "__main__":
    sys.exit(main())
