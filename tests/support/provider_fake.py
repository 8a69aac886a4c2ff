"""A small FC for tests of the provider: objects in memory, called directly or over HTTP.

Owns: the objects, a list of the calls made, and scripted failures. Promises: FC's paths, codes and answer
shapes for the operations of `tickover.fc.client.OPERATIONS`. Never: sleeps or checks signatures.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tickover.fc.errors import FcError

NOT_FOUND = {
    "function": "FunctionNotFound",
    "version": "VersionNotFound",
    "alias": "AliasNotFound",
    "provision_config": "ProvisionConfigNotFound",
    "concurrency_config": "ConcurrencyConfigNotFound",
    "trigger": "TriggerNotFound",
    "custom_domain": "DomainNameNotFound",
}
EXISTS = {
    "function": "FunctionAlreadyExists",
    "alias": "AliasAlreadyExists",
    "trigger": "TriggerAlreadyExists",
    "custom_domain": "DomainNameAlreadyExists",
}
NAMES = {
    "function": "functionName",
    "alias": "aliasName",
    "trigger": "triggerName",
    "custom_domain": "domainName",
}


class FakeFc:
    """FC in memory. looks_until_up: how many looks at a pool until current == target."""

    def __init__(self, looks_until_up: int = 1) -> None:
        self.objects: dict[tuple[str, ...], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.fail: dict[str, list[FcError]] = defaultdict(list)
        self.looks_until_up = looks_until_up
        self.pool_error = ""
        self.function_states: list[dict[str, str]] = []
        self.url = "http://fake.test"

    async def call(
        self, operation: str, *path: str, body: Mapping[str, Any] | None = None, **query: Any
    ) -> dict[str, Any]:
        return self.answer(operation, path, dict(body or {}), query)

    def answer(
        self, operation: str, path: tuple[str, ...], body: dict[str, Any], query: Mapping[str, Any]
    ) -> dict[str, Any]:
        body = json.loads(json.dumps(body))
        qualifier = query.get("qualifier")
        self.calls.append(" ".join([operation, *path, *([f"@{qualifier}"] if qualifier else [])]))
        self.bodies[operation] = body
        if self.fail[operation]:
            raise self.fail[operation].pop(0)
        if qualifier and "provision" in operation:
            path = (*path, qualifier)
        if operation in ("tag_resources", "untag_resources"):
            return {}
        if operation == "publish_function_version":
            return self._publish(path[0], body)
        if operation == "list_function_versions":
            return self._versions(path[0])
        verb, kind = operation.split("_", 1)
        kind = kind.removeprefix("function_") if kind == "function_version" else kind
        return getattr(self, f"_{verb}")(kind, path, body)

    def _at(self, kind: str, path: tuple[str, ...]) -> dict[str, Any]:
        if kind != "function" and kind != "custom_domain" and ("function", path[0]) not in self.objects:
            raise FcError("FunctionNotFound", 404, f"function '{path[0]}' does not exist")
        try:
            return self.objects[(kind, *path)]
        except KeyError:
            raise FcError(NOT_FOUND[kind], 404, f"{kind} {'/'.join(path)} does not exist") from None

    def _create(self, kind: str, path: tuple[str, ...], body: dict[str, Any]) -> dict[str, Any]:
        key = (kind, *path, body[NAMES[kind]])
        if key in self.objects:
            raise FcError(EXISTS[kind], 409, f"{kind} {body[NAMES[kind]]} already exists")
        self.objects[key] = body
        return self._get(kind, key[1:], body)

    def _get(self, kind: str, path: tuple[str, ...], body: dict[str, Any]) -> dict[str, Any]:
        there = dict(self._at(kind, path))
        match kind:
            case "function":
                states = {"state": "Active", "lastUpdateStatus": "Successful"}
                if self.function_states:
                    states |= self.function_states.pop(0)
                arn = f"acs:fc:local:1:functions/{path[0]}"
                there |= {
                    "functionArn": arn,
                    "functionId": "id-1",
                    "timeout": there.get("timeout", 3),
                    **states,
                }
            case "provision_config":
                there = self._pool(there)
            case "trigger":
                there |= {"httpTrigger": {"urlInternet": f"{self.url}/fn/{path[0]}.{there['qualifier']}"}}
        return {**there, "lastModifiedTime": "2026-01-01T00:00:00Z"}

    def _pool(self, there: dict[str, Any]) -> dict[str, Any]:
        target = there.get("defaultTarget", 0)
        there["looks"] = there.get("looks", 0) + 1
        for key, value in self.objects.items():
            if key[0] == "provision_config" and value.get("functionName") == there.get("functionName"):
                value["looks"] = there["looks"]
        up = target if there["looks"] >= self.looks_until_up and not self.pool_error else 0
        told = {k: v for k, v in there.items() if k not in ("looks", "functionName")}
        return {**told, "target": target, "current": up, "currentError": self.pool_error}

    def _update(self, kind: str, path: tuple[str, ...], body: dict[str, Any]) -> dict[str, Any]:
        merged = {**self._at(kind, path), **body}
        self.objects[(kind, *path)] = {k: v for k, v in merged.items() if v is not None}
        return self._get(kind, path, body)

    def _put(self, kind: str, path: tuple[str, ...], body: dict[str, Any]) -> dict[str, Any]:
        self._at("function", path[:1])
        self.objects[(kind, *path)] = {**body, "functionName": path[0]}
        answer = self._get(kind, path, body)
        self.objects[(kind, *path)].pop("looks", None)
        return answer

    def _delete(self, kind: str, path: tuple[str, ...], body: dict[str, Any]) -> dict[str, Any]:
        self._at(kind, path)
        del self.objects[(kind, *path)]
        return {}

    def _publish(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self._at("function", (name,))
        number = str(1 + sum(1 for key in self.objects if key[0] == "version" and key[1] == name))
        self.objects[("version", name, number)] = {**body, "versionId": number}
        return dict(self.objects[("version", name, number)])

    def _versions(self, name: str) -> dict[str, Any]:
        self._at("function", (name,))
        found = [v for key, v in self.objects.items() if key[:2] == ("version", name)]
        return {"versions": list(reversed(found))}


_F = "/functions/([^/]+)"
# (method, path) → operation; the groups of the path are its names.
ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/functions", "create_function"),
    ("GET", _F, "get_function"),
    ("PUT", _F, "update_function"),
    ("DELETE", _F, "delete_function"),
    ("POST", f"{_F}/versions", "publish_function_version"),
    ("GET", f"{_F}/versions", "list_function_versions"),
    ("DELETE", f"{_F}/versions/([^/]+)", "delete_function_version"),
    ("POST", f"{_F}/aliases", "create_alias"),
    ("GET", f"{_F}/aliases/([^/]+)", "get_alias"),
    ("PUT", f"{_F}/aliases/([^/]+)", "update_alias"),
    ("DELETE", f"{_F}/aliases/([^/]+)", "delete_alias"),
    ("PUT", f"{_F}/provision-config", "put_provision_config"),
    ("GET", f"{_F}/provision-config", "get_provision_config"),
    ("DELETE", f"{_F}/provision-config", "delete_provision_config"),
    ("PUT", f"{_F}/concurrency", "put_concurrency_config"),
    ("GET", f"{_F}/concurrency", "get_concurrency_config"),
    ("DELETE", f"{_F}/concurrency", "delete_concurrency_config"),
    ("POST", f"{_F}/triggers", "create_trigger"),
    ("GET", f"{_F}/triggers/([^/]+)", "get_trigger"),
    ("PUT", f"{_F}/triggers/([^/]+)", "update_trigger"),
    ("DELETE", f"{_F}/triggers/([^/]+)", "delete_trigger"),
    ("POST", "/custom-domains", "create_custom_domain"),
    ("GET", "/custom-domains/([^/]+)", "get_custom_domain"),
    ("PUT", "/custom-domains/([^/]+)", "update_custom_domain"),
    ("DELETE", "/custom-domains/([^/]+)", "delete_custom_domain"),
)


def route(method: str, path: str) -> tuple[str, tuple[str, ...]] | None:
    """The operation behind a request line."""
    for verb, pattern, operation in ROUTES:
        found = re.fullmatch("/2023-03-30" + pattern, path)
        if verb == method and found:
            return operation, tuple(unquote(name) for name in found.groups())
    return None


@contextmanager
def serving(fake: FakeFc) -> Iterator[str]:
    """fake over HTTP on a free port; yields its URL."""

    class RequestHandler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            parts = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(parts.query).items()}
            text = self.rfile.read(int(self.headers.get("content-length") or 0))
            found = route(self.command, parts.path)
            try:
                if found is None:
                    raise FcError("PathNotSupported", 404, "no such path")
                status, answer = 200, fake.answer(found[0], found[1], json.loads(text or b"{}"), query)
            except FcError as error:
                status, answer = error.http_status, error.as_body("request-1")
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
