"""`tickover host start|upgrade|stop|status|run`: the host of this project.

Owns: the answers on the terminal. Promises: ``status --json`` always says ``running``. Never: runs an
instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tickover.commands.session import Session
from tickover.errors import Exit


def start(
    session: Session,
    port: int | None,
    listen: str,
    nas: Sequence[str],
    *,
    allow_remote: bool,
    tls_port: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """`host start`."""
    from tickover.host.daemon import parse_nas, start_host

    info = start_host(
        session.home,
        port,
        listen_host=listen,
        nas=parse_nas(list(nas)),
        allow_remote=allow_remote,
        tls_port=tls_port,
    )
    if as_json:
        session.say_json({"running": True, **info.as_json()})
    elif not quiet:
        what = "runs already" if info.already_running else "is started"
        session.say(f"The host {what}: {info.url} (pid {info.pid})")
    if info.note:
        session.note(f"note: {info.note}")
    return int(Exit.OK)


def upgrade(session: Session, max_age_seconds: float, *, as_json: bool) -> int:
    """`host upgrade`."""
    from tickover.host.daemon import upgrade_host

    info = upgrade_host(session.home, max_age_seconds)
    if as_json:
        session.say_json({"running": True, **info.as_json()})
    else:
        session.say(f"The host is replaced: {info.url} (pid {info.pid}, version {info.version})")
    return int(Exit.OK)


def stop(session: Session, *, keep_instances: bool, as_json: bool) -> int:
    """`host stop`."""
    from tickover.host.daemon import stop_host

    was_running = stop_host(session.home, keep_instances=keep_instances)
    if as_json:
        session.say_json({"running": False, "was_running": was_running})
    else:
        session.say("The host is stopped." if was_running else "No host was running.")
    return int(Exit.OK)


def status(session: Session, *, as_json: bool) -> int:
    """`host status`; exit 1 if it does not run."""
    from tickover.host.client import AdminClient
    from tickover.host.daemon import host_status

    info = host_status(session.home)
    if info is None:
        if as_json:
            session.say_json({"running": False})
        else:
            session.say("The host is not running. Start it:", "    tickover host start")
        return int(Exit.ERROR)
    more: dict[str, Any] = AdminClient(session.home).status()
    if as_json:
        session.say_json({**more, "running": True, **info.as_json()})
        return int(Exit.OK)
    functions = ", ".join(more.get("functions") or ()) or "none"
    session.say(
        f"The host runs at {info.url} (pid {info.pid}, version {info.version}, since {info.started_at})",
        f"    functions: {functions}",
        f"    instances: {more.get('instances', 0)}",
        *(
            f"    former host {one['holder'].partition('-')[0]} finishes {one['requests']} request(s)"
            for one in more.get("former_hosts") or ()
        ),
        *(f"    driver {note}" for _, note in sorted((more.get("runtimes") or {}).items())),
        *(f"    {line}" for line in more.get("gpus") or ()),
        *(f"    {_certificate(one)}" for one in more.get("certificates") or ()),
    )
    return int(Exit.OK)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _certificate(one: Mapping[str, Any]) -> str:
    """A domain's certificate by ACME in a line."""
    name = f"certificate of {one['domain']}"
    expires, again = one["expires_s"], _moment(one["next_order_s"])
    has = "none yet" if expires is None else f"until {_moment(expires)}"
    if one["problem"]:
        return f"{name}: {has}; the last order failed: {one['problem']} (again at {again})"
    return f"{name}: {has}" + ("" if expires is None else f", renewed at {again}")


def run(
    session: Session,
    port: int | None,
    listen: str,
    nas: Sequence[str],
    *,
    allow_remote: bool,
    tls_port: int | None,
) -> int:
    """`host run`: in the foreground, until Ctrl-C."""
    from tickover.host import main
    from tickover.host.server import HostSettings

    main.configure_log()
    address, listen_port = main.parse_listen(listen)
    settings = HostSettings(
        home=Path(session.home),
        listen_host=address,
        port=port if port is not None else listen_port,
        tls_port=tls_port,
        nas=main.parse_nas(list(nas)),
        allow_remote=allow_remote,
    )
    main.run_host(settings, lambda facts: session.note(f"serving at {facts['url']} (pid {facts['pid']})"))
    return int(Exit.OK)
