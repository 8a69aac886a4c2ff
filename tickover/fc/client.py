"""The FC 2023-03-30 API as async calls, through Alibaba's official Python client.

Owns: which SDK call belongs to which operation, and the one mapping of the SDK's exceptions to `FcError`
and `Unreachable`. Promises: wire dicts in and out (camelCase), no retries, no proxy toward loopback, no
secret in a message or repr. Never: decides what to call. The SDK is imported at the first call: it is
heavy, and a preview that makes no call should not pay for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tickover.fc.errors import FcError

_CONNECT_TIMEOUT_MS = 5_000
_READ_TIMEOUT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Connection:
    """Where and as whom to call. endpoint: ``http://host:port`` or ``https://…`` or a bare host name."""

    endpoint: str
    access_key_id: str
    access_key_secret: str = field(repr=False)
    region: str = ""
    security_token: str = field(default="", repr=False)

    @property
    def scheme(self) -> str:
        """``http`` only when the endpoint says so."""
        return urlsplit(self.endpoint).scheme or "https"

    @property
    def address(self) -> str:
        """``host`` or ``host:port``."""
        return urlsplit(self.endpoint).netloc or self.endpoint

    @property
    def is_loopback(self) -> bool:
        """True for this machine's own addresses."""
        host = urlsplit(f"//{self.address}").hostname or ""
        return host == "localhost" or host == "::1" or host.startswith("127.")


class Unreachable(ConnectionError):
    """No FC answer came from the endpoint."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"no answer from {endpoint}: {reason}")
        self.endpoint = endpoint
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Operation:
    """An SDK call. request: the class in the SDK's models, empty where the call takes none."""

    request: str = ""
    has_body: bool = False


OPERATIONS: Mapping[str, Operation] = {
    "create_function": Operation("CreateFunctionRequest", True),
    "get_function": Operation("GetFunctionRequest"),
    "update_function": Operation("UpdateFunctionRequest", True),
    "delete_function": Operation(),
    "publish_function_version": Operation("PublishFunctionVersionRequest", True),
    "list_function_versions": Operation("ListFunctionVersionsRequest"),
    "delete_function_version": Operation(),
    "create_alias": Operation("CreateAliasRequest", True),
    "get_alias": Operation(),
    "list_aliases": Operation("ListAliasesRequest"),
    "update_alias": Operation("UpdateAliasRequest", True),
    "delete_alias": Operation(),
    "put_provision_config": Operation("PutProvisionConfigRequest", True),
    "get_provision_config": Operation("GetProvisionConfigRequest"),
    "delete_provision_config": Operation("DeleteProvisionConfigRequest"),
    "put_concurrency_config": Operation("PutConcurrencyConfigRequest", True),
    "get_concurrency_config": Operation(),
    "delete_concurrency_config": Operation(),
    "create_trigger": Operation("CreateTriggerRequest", True),
    "get_trigger": Operation(),
    "list_triggers": Operation("ListTriggersRequest"),
    "update_trigger": Operation("UpdateTriggerRequest", True),
    "delete_trigger": Operation(),
    "create_custom_domain": Operation("CreateCustomDomainRequest", True),
    "get_custom_domain": Operation(),
    "update_custom_domain": Operation("UpdateCustomDomainRequest", True),
    "delete_custom_domain": Operation(),
    "tag_resources": Operation("TagResourcesRequest", True),
    "untag_resources": Operation("UntagResourcesRequest"),
}


class FcClient:
    """One endpoint, one credential. Safe to use from several tasks at once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._sdk: Any = None

    async def call(
        self, operation: str, *path: str, body: Mapping[str, Any] | None = None, **query: Any
    ) -> dict[str, Any]:
        """Do operation on the object that path names; the answer's body as a wire dict.

        query: snake_case query parameters (``qualifier="live"``). Raises FcError, Unreachable.
        """
        return await asyncio.to_thread(self._call, OPERATIONS[operation], operation, path, body, query)

    def _call(
        self,
        operation: Operation,
        name: str,
        path: tuple[str, ...],
        body: Mapping[str, Any] | None,
        query: Mapping[str, Any],
    ) -> dict[str, Any]:
        from alibabacloud_fc20230330 import models
        from darabonba.exceptions import DaraException, RetryError, UnretryableException
        from darabonba.runtime import RuntimeOptions

        arguments: list[Any] = list(path)
        if operation.request:
            request = getattr(models, operation.request)(**query)
            if operation.has_body:
                request.body = _wire_body(body or {})
            arguments.append(request)
        runtime = RuntimeOptions(connect_timeout=_CONNECT_TIMEOUT_MS, read_timeout=_READ_TIMEOUT_MS)
        try:
            answer = getattr(self._client(), f"{name}_with_options")(*arguments, {}, runtime)
        except DaraException as error:
            raise _fc_error(error) from error
        except UnretryableException as error:
            inner = getattr(error, "inner_exception", None)
            # Anything but a failed send means that an answer came and could not be read.
            reason = _plain_reason(inner) if isinstance(inner, RetryError) else "no FC answers there"
            raise Unreachable(self.connection.endpoint, reason) from error
        answered = getattr(answer, "body", None)
        return dict(answered.to_map()) if answered is not None else {}

    def _client(self) -> Any:
        if self._sdk is None:
            from alibabacloud_fc20230330.client import Client
            from alibabacloud_tea_openapi.utils_models import Config

            to = self.connection
            if to.is_loopback:
                _leave_proxies_out(to)
            self._sdk = Client(
                Config(
                    endpoint=to.address,
                    protocol=to.scheme,
                    region_id=to.region or None,
                    access_key_id=to.access_key_id,
                    access_key_secret=to.access_key_secret,
                    security_token=to.security_token or None,
                    user_agent="tickover",
                )
            )
        return self._sdk


def _wire_body(body: Mapping[str, Any]) -> Any:
    """body as the SDK wants a model, but with everything kept: its own input classes would drop nulls
    (which take a field away) and fields newer than the SDK."""
    from darabonba.model import DaraModel

    class WireBody(DaraModel):  # type: ignore[misc]
        def validate(self) -> None: ...
        def to_map(self) -> dict[str, Any]:
            return dict(body)

    return WireBody()


def _leave_proxies_out(to: Connection) -> None:
    """Make the SDK's session for this address ignore HTTP_PROXY, which it would obey even on loopback
    (its no_proxy setting has no effect on the transport)."""
    from darabonba.core import DEFAULT_POOL_MAXSIZE, DaraCore
    from requests.adapters import HTTPAdapter

    class DirectAdapter(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            return super().send(request, **{**options, "proxies": {}})

    key = f"{to.scheme}://{to.address}:80:pool={DEFAULT_POOL_MAXSIZE}"
    session = DaraCore._get_session(session_key=key, protocol=to.scheme)
    session.mount(f"{to.scheme}://", DirectAdapter(pool_maxsize=DEFAULT_POOL_MAXSIZE))


def _fc_error(error: Any) -> FcError:
    """FC's own code and words out of the SDK's exception."""
    data = error.data if isinstance(error.data, Mapping) else {}
    message = data.get("Message") or data.get("message") or error.message or "no message"
    status = getattr(error, "status_code", None) or data.get("statusCode") or 500
    return FcError(code=str(error.code or "Unknown"), http_status=int(status), message=str(message))


def _plain_reason(error: object) -> str:
    """What went wrong on the way, without the HTTP library's wrapping."""
    text = str(getattr(error, "message", None) or error)
    if "timed out" in text.lower():
        return "no answer in time"
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    if system:
        return system.group(1).lower()
    return (text.strip().splitlines() or ["it cannot be reached"])[0]
