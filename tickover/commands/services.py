"""`tickover ps|wake|invoke`: what runs, and a request to it.

Owns: the answers on the terminal, and how a service's name becomes function and URL. Promises: asking for
instances wakes nothing. Never: changes what is declared.
"""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tickover.commands.session import Session
from tickover.commands.stacks import stack_outputs
from tickover.errors import ConfigError, Exit, TickoverError
from tickover.views.tables import table
from tickover.views.terminal import clean, seconds_text

if TYPE_CHECKING:
    from tickover.host.client import AdminClient

GONE = ("stopped", "failed")
QUALIFIER = "live"


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a stack as callers see it."""

    name: str
    function: str
    url: str
    model: str


def find_service(session: Session, stack: str | None, name: str | None) -> Service:
    """The named service, or the only one. Raises TickoverError with the nearest name."""
    from tickover.engine.values import mask

    chosen = session.stack(stack)
    outputs = mask(stack_outputs(session, chosen))
    urls: Mapping[str, str] = outputs.get("urls") or {}
    if not urls:
        raise TickoverError(
            "no-service", "No service is up", f"{chosen} exports no URLs.", hint=f"tickover up -s {chosen}"
        )
    if name is None:
        if len(urls) > 1:
            raise ConfigError("which-service", "Which service?", f"{chosen} has {', '.join(sorted(urls))}.")
        name = next(iter(urls))
    if name not in urls:
        near = difflib.get_close_matches(name, urls, n=1, cutoff=0.5)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise ConfigError(
            "unknown-service",
            "Service not found",
            f"{chosen} has no service {name!r}.{hint} It has {', '.join(sorted(urls))}.",
        )
    models: Mapping[str, str] = outputs.get("models") or {}
    return Service(name, f"{name}-{chosen}", urls[name].rstrip("/"), str(models.get(name, name)))


_RUNGS = {"freeze": "frozen", "sleep": "asleep", "checkpoint": "checkpointed"}


def ps(session: Session, *, everything: bool, as_json: bool) -> int:
    """`ps`: the instances of the host."""
    from tickover.host.client import AdminClient

    instances = AdminClient(session.home).instances()
    if as_json:
        session.say_json({"instances": instances})
        return int(Exit.OK)
    shown = [i for i in instances if everything or i["state"] not in GONE]
    if not shown:
        hidden = len(instances) - len(shown)
        more = f" ({hidden} gone; show them with --all)" if hidden else ""
        session.say(f"No instances{more}.")
        return int(Exit.OK)
    heads = ("INSTANCE", "FUNCTION", "VERSION", "STATE", "REQUESTS", "PID", "AGE")
    rows = [_instance_row(i, time.time_ns()) for i in shown]
    session.say(*table(heads, rows, session.look, "llllrrr"))
    session.say(*(f"{i['instance_id']}: {clean(str(i['reason']))}" for i in shown if i.get("reason")))
    return int(Exit.OK)


def _instance_row(instance: Mapping[str, Any], now_ns: int) -> tuple[str, ...]:
    end = instance.get("destroyed_ns") or now_ns
    age = seconds_text(max(0.0, (int(end) - int(instance["created_ns"])) / 1e9))
    return (
        str(instance["instance_id"]),
        f"{instance['function']}:{instance['qualifier']}",
        str(instance["version_id"]),
        state_text(instance),
        str(instance["in_flight"]),
        str(instance["pid"] or "-"),
        age,
    )


def state_text(instance: Mapping[str, Any]) -> str:
    """``idle (asleep)``: how far down the idle ladder it is; else its state."""
    state, rung = str(instance["state"]), _RUNGS.get(str(instance.get("rung", "")))
    return f"{state} ({rung})" if state == "idle" and rung else state


def wake(session: Session, stack: str | None, name: str | None, *, count: int | None, as_json: bool) -> int:
    """`wake`: idle instances of a service or a function become ready. Exit 4 if one does not wake."""
    from tickover.host.client import AdminClient

    client = AdminClient(session.home)
    function, qualifier = _pool_named(session, stack, name, client)
    done = client.wake(function, qualifier, count)
    took = float(done["took_seconds"])
    if as_json:
        session.say_json({"function": function, "pools": done["pools"], "took_seconds": f"{took:.3f}"})
    else:
        session.say(*(_woken_text(function, pool, took) for pool in done["pools"]))
    return int(Exit.RESOURCE if any(pool["failed"] for pool in done["pools"]) else Exit.OK)


def _pool_named(
    session: Session, stack: str | None, name: str | None, client: AdminClient
) -> tuple[str, str | None]:
    """Of `FUNCTION[.QUALIFIER]`, if the host has that function, else of a service of the stack."""
    function, dot, qualifier = (name or "").partition(".")
    if name is None or (stack is not None and not dot):
        return find_service(session, stack, name).function, QUALIFIER
    functions: Sequence[str] = client.status().get("functions") or ()
    if function in functions:
        return function, qualifier or None
    if not dot:
        return find_service(session, stack, name).function, QUALIFIER
    near = difflib.get_close_matches(function, functions, n=1, cutoff=0.5)
    hint = f" Did you mean `{near[0]}.{qualifier}`?" if near else ""
    raise ConfigError(
        "unknown-function", "Function not found", f"The host has no function {function!r}.{hint}"
    )


def _woken_text(function: str, pool: Mapping[str, Any], took: float) -> str:
    failed = f", {pool['failed']} did not wake (`tickover ps --all` says why)" if pool["failed"] else ""
    return (
        f"{function}.{pool['qualifier']}: {pool['woke']} woke in {took * 1000:.0f} ms, "
        f"{pool['awake']} awake{failed}"
    )


def invoke(
    session: Session,
    stack: str | None,
    name: str,
    path: str,
    method: str | None,
    data: str | None,
    headers: Sequence[str],
) -> int:
    """`invoke`: one HTTP request; its body on standard output, what happened on standard error."""
    from tickover import caller

    service = find_service(session, stack, name)
    body = None
    if data is not None:
        body = sys.stdin.buffer.read() if data == "-" else data.encode()
    given = {**authorization(session, service), **dict(_header(h) for h in headers)}
    verb = method or ("GET" if body is None else "POST")
    if body is not None and "content-type" not in {k.lower() for k in given}:
        given["Content-Type"] = "application/json"
    with caller.request(verb, service.url + "/" + path.lstrip("/"), body, given) as answer:
        for part in answer.parts():
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
    session.note(f"\n{answer.status} {answer.summary()}")
    return int(Exit.OK) if answer.status < 400 else int(Exit.ERROR)


def authorization(session: Session, service: Service, token: str | None = None) -> dict[str, str]:
    """The header for a service with bearer tokens: the one given, else ``TICKOVER_TOKEN_<SERVICE>``."""
    found = token or session.env.get(f"TICKOVER_TOKEN_{service.name.upper().replace('-', '_')}")
    return {"Authorization": f"Bearer {found}"} if found else {}


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError("bad-header", "Header is not NAME: VALUE", f"{name!r} has no colon.")
    return name.strip(), value.strip()
