"""The command line's way to a running host: its admin API.

Owns: reading host.json and credentials.json, and the calls. Promises: a host that does not run is an error
that says how to start it; the admin token is in no error. Never: starts a host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tickover.errors import Exit, TickoverError
from tickover.host.auth import load_credentials
from tickover.host.routes import ADMIN_PREFIX
from tickover.paths import host_dir

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
WAKE_SECONDS = 180.0
STREAM_SECONDS = 60.0  # a host with nothing to say sends an empty line more often than that


def read_host_file(home: Path) -> dict[str, Any] | None:
    """What host.json says, or None when there is none that can be read."""
    try:
        found = json.loads((host_dir(home) / "host.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def host_not_running(home: Path) -> TickoverError:
    return TickoverError(
        "host-not-running",
        "Host is not running",
        f"No host serves {host_dir(home)}.",
        hint="tickover host start",
    )


class AdminClient:
    """Calls of one host. Raises TickoverError."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def status(self) -> dict[str, Any]:
        return self._call("GET", "status")

    def instances(self, function_name: str | None = None) -> list[dict[str, Any]]:
        query = {"functionName": function_name} if function_name else {}
        found: list[dict[str, Any]] = self._call("GET", "instances", query=query)["instances"]
        return found

    def waiting(self, function_name: str | None = None) -> list[dict[str, Any]]:
        """Who waits for an instance: at which place, for how long, for what."""
        query = {"functionName": function_name} if function_name else {}
        rows: list[dict[str, Any]] = self._call("GET", "waiting", query=query)["waiting"]
        return rows

    def usage(self, since_ns: int = 0, until_ns: int | None = None) -> dict[str, Any]:
        """{"since_ns", "until_ns", "rows": [UsageRow fields], "calls": {function: finished requests}}, of the
        window that could be told exactly (docs/host.md, What is billed)."""
        query = {"since": str(since_ns)}
        if until_ns is not None:
            query["until"] = str(until_ns)
        return self._call("GET", "usage", query=query)

    def metrics(self) -> str:
        """The metrics page, in Prometheus' text format."""
        with self._asked("GET", "metrics", read_seconds=READ_SECONDS) as answer:
            if answer.status_code >= 400:
                _result(answer, "metrics")
            return answer.text

    def stream(self, name: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The JSON lines of `logs` or `access`, as they come. A host that breaks off is an error."""
        with self._asked("GET", name, query=query, read_seconds=STREAM_SECONDS, stream=True) as answer:
            if answer.status_code >= 400:
                _result(answer, name)
            rest = b""
            try:
                for part in answer.iter_content(chunk_size=None):
                    *whole, rest = (rest + part).split(b"\n")
                    yield from (json.loads(line) for line in whole if line)
            except requests.RequestException as err:
                raise TickoverError(
                    "host-broke-off", "Host broke off", f"The answer to {name} did not come to its end."
                ) from err

    def wake(
        self, function_name: str, qualifier: str | None = None, count: int | None = None
    ) -> dict[str, Any]:
        """{"pools": [{"qualifier", "woke", "failed", "awake"}], "took_seconds"}; no qualifier: every pool."""
        body = {"functionName": function_name, "qualifier": qualifier, "count": count}
        return self._call("POST", "wake", body=body, read_seconds=WAKE_SECONDS)

    def shutdown(self, keep_instances: bool = False) -> float:
        """Begin to stop; how many seconds that may take."""
        answer = self._call("POST", "shutdown", body={"keepInstances": keep_instances})
        return float(answer.get("withinSeconds", 0.0))

    def _call(
        self,
        method: str,
        name: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> dict[str, Any]:
        with self._asked(method, name, query=query, body=body, read_seconds=read_seconds) as answer:
            return _result(answer, name)

    @contextmanager
    def _asked(
        self,
        method: str,
        name: str,
        *,
        query: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
        read_seconds: float,
        stream: bool = False,
    ) -> Iterator[requests.Response]:
        facts = read_host_file(self._home)
        try:
            credentials = load_credentials(host_dir(self._home) / "credentials.json")
        except FileNotFoundError:
            facts = None
        if facts is None:
            raise host_not_running(self._home)
        with requests.Session() as session:
            session.trust_env = False  # the host is on this machine: no proxy stands between
            try:
                answer = session.request(
                    method,
                    f"{facts['url']}{ADMIN_PREFIX}/{name}",
                    params=query,
                    json=body,
                    headers={"Authorization": f"Bearer {credentials.admin_token}"},
                    timeout=(CONNECT_SECONDS, read_seconds),
                    stream=stream,
                )
            except requests.ConnectionError as err:
                raise host_not_running(self._home) from err
            except requests.Timeout as err:
                raise TickoverError(
                    "host-silent",
                    "Host does not answer",
                    f"The host at {facts['url']} took more than {read_seconds:.0f} seconds for {name}.",
                    exit_code=Exit.TIMEOUT,
                ) from err
            with answer:
                yield answer


def _result(answer: requests.Response, name: str) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as err:
        raise TickoverError(
            "host-answer", "Host gave no JSON", f"{name} was answered with status {answer.status_code}."
        ) from err
    if answer.status_code >= 400:
        exit_code = Exit.AUTHENTICATION if answer.status_code == 401 else Exit.RESOURCE
        retry = answer.headers.get("retry-after", "")
        raise TickoverError(
            "host-refused",
            "Host refused the call",
            f"{value.get('Code', 'Error')}: {value.get('Message', '')}",
            address=name,
            exit_code=exit_code,
            retry_after_seconds=float(retry) if retry.isdigit() else None,
        )
    found: dict[str, Any] = value
    return found
