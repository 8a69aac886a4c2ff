"""Triggers: what makes a function run.

Owns: `Trigger` and the configs inside its triggerConfig text. Promises: an HTTP or timer config is checked
as a whole; tokens never appear in a message or repr. Never: authenticates (the host does).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field, StrictBool

from tickover.fc.alias import Qualifier
from tickover.fc.base import FcModel, Wire
from tickover.fc.function import FunctionName
from tickover.fc.limits import Choice, Json, Text, Whole
from tickover.fc.validate import findings, parse

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")
AUTH_TYPES: Final = ("function", "anonymous", "jwt", "basic", "bearer")
TRIGGER_TYPES: Final = (
    "http",
    "timer",
    "oss",
    "log",
    "tablestore",
    "cdn_events",
    "mns_topic",
    "eventbridge",
)
_MAX_TIMER_PAYLOAD_BYTES: Final = 128 * 1024
Method = Annotated[str, Choice(*METHODS)]
AuthType = Annotated[str | None, Choice(*AUTH_TYPES)]


class CorsConfig(FcModel):
    allow_credentials: StrictBool | None = None
    allow_headers: list[str] | None = None
    allow_methods: list[str] | None = None
    allow_origins: list[str] | None = None
    expose_headers: list[str] | None = None
    max_age: Annotated[int | None, Whole(0, 86400, unit="seconds")] = None


class BearerToken(FcModel):
    token: Annotated[str, Text(1, 4096, r"[\x21-\x7e]+", "be printable ASCII without blanks", show=False)] = (
        Field(repr=False)
    )
    name: str | None = None
    enable: StrictBool | None = None


class BearerAuth(FcModel):
    """The authConfig of authType bearer."""

    tokens: list[BearerToken]

    @property
    def accepted(self) -> frozenset[str]:
        """The tokens that let a request in."""
        return frozenset(t.token for t in self.tokens if t.enable is not False)


class BasicUser(FcModel):
    user_name: Annotated[str, Text(1, 256)] = Field(alias="username")
    password: Annotated[str, Text(1, 4096, show=False)] = Field(repr=False)


class BasicAuth(FcModel):
    """The authConfig of authType basic."""

    users: list[BasicUser]


_AUTH_CONFIGS: Final[Mapping[str, type[FcModel]]] = MappingProxyType(
    {"bearer": BearerAuth, "basic": BasicAuth}
)
_WITHOUT_CONFIG: Final = frozenset({"function", "anonymous"})


def auth_violations(auth_type: str | None, config: str | None, name: str) -> Iterator[tuple[str, str]]:
    """What is wrong with the JSON text `name` that goes with an authType."""
    kind = auth_type or "function"
    if kind in _WITHOUT_CONFIG:
        if config not in (None, "", "{}"):
            yield name, f"is not used with authType {kind}; leave it out"
        return
    if not config:
        yield name, f"is required by authType {kind}"
        return
    model = _AUTH_CONFIGS.get(kind)
    if model is None:
        return
    parsed: dict[str, Any] = json.loads(config)
    for path, predicate in findings(model, parsed):
        yield f"{name}.{path}" if path else name, predicate
    if any(parsed.get(field) == [] for field in ("tokens", "users")):
        yield name, f"must hold at least one entry for authType {kind}"


def _auth(wire: Wire) -> Iterator[tuple[str, str]]:
    yield from auth_violations(wire.get("authType"), wire.get("authConfig"), "authConfig")


class HttpTriggerConfig(FcModel):
    """auth_config: a JSON text, such as ``{"tokens": [{"token": "…"}]}`` for bearer."""

    auth_type: AuthType = None
    auth_config: Annotated[str | None, Json()] = Field(default=None, repr=False)
    methods: list[Method] | None = None
    disable_url_internet: StrictBool | None = Field(default=None, alias="disableURLInternet")
    cors_config: CorsConfig | None = None

    rules = (_auth,)
    defaults = {"authType": "function", "disableURLInternet": False}  # noqa: RUF012 - typed in FcModel

    def bearer_tokens(self) -> frozenset[str]:
        """The tokens that let a request in; empty for another authType."""
        if self.auth_type != "bearer" or self.auth_config is None:
            return frozenset()
        return parse(BearerAuth, json.loads(self.auth_config)).accepted


class TimerTriggerConfig(FcModel):
    cron_expression: Annotated[str, Text(1, 256)]
    enable: StrictBool | None = None
    payload: Annotated[str | None, Text(0, _MAX_TIMER_PAYLOAD_BYTES, show=False)] = None


CONFIGS: Final[Mapping[str, type[FcModel]]] = MappingProxyType(
    {"http": HttpTriggerConfig, "timer": TimerTriggerConfig}
)


def _config_of_its_type(wire: Wire) -> Iterator[tuple[str, str]]:
    kind, config = wire.get("triggerType", ""), wire.get("triggerConfig")
    model = CONFIGS.get(kind)
    if model is None or config is None:
        return
    for path, predicate in findings(model, json.loads(config)):
        yield f"triggerConfig.{path}" if path else "triggerConfig", predicate


class Trigger(FcModel):
    """trigger_config: a JSON text; `HttpTriggerConfig` is its shape for type http."""

    function_name: FunctionName
    trigger_name: FunctionName
    trigger_type: Annotated[str, Choice(*TRIGGER_TYPES)]
    trigger_config: Annotated[str, Json()] = Field(repr=False)
    qualifier: Qualifier | None = None
    invocation_role: str | None = None
    source_arn: str | None = None
    description: Annotated[str | None, Text(0, 256)] = None

    rules = (_config_of_its_type,)
    in_path = frozenset({"functionName"})
    create_only = frozenset({"triggerName", "triggerType", "sourceArn"})
    defaults = {"qualifier": "LATEST"}  # noqa: RUF012 - read-only, typed in FcModel

    def http_config(self) -> HttpTriggerConfig:
        """The config of an HTTP trigger. Raises InvalidResource."""
        return parse(HttpTriggerConfig, json.loads(self.trigger_config))
