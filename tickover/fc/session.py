"""Session affinity: which requests stay on one instance.

Owns: the affinity kinds and the shape of sessionAffinityConfig, a JSON text. Promises: a config is checked
against its own kind. Never: keeps sessions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field, StrictBool

from tickover.fc.base import FcModel
from tickover.fc.limits import Text, Whole
from tickover.fc.validate import findings

_MAX_SECONDS: Final = 21600
Lifetime = Annotated[int | None, Whole(1, _MAX_SECONDS, unit="seconds")]
IdleTimeout = Annotated[int | None, Whole(0, _MAX_SECONDS, unit="seconds")]
PerInstance = Annotated[int | None, Whole(1, 200)]


class CookieAffinity(FcModel):
    """GENERATED_COOKIE: FC sets the cookie x-fc-cookie-session-id."""

    session_concurrency_per_instance: PerInstance = None
    session_ttl_in_seconds: Lifetime = Field(default=None, alias="sessionTTLInSeconds")
    session_idle_timeout_in_seconds: IdleTimeout = None
    disable_session_id_reuse: StrictBool | None = None


class HeaderAffinity(CookieAffinity):
    """HEADER_FIELD: the client, or FC at the first request, names the session in a header."""

    affinity_header_field_name: Annotated[
        str,
        Text(
            5,
            40,
            r"(?!(?i:x-fc-))[A-Za-z][A-Za-z0-9_-]*",
            "be letters, digits, _ and -, start with a letter and not with x-fc-",
        ),
    ]


class McpSseAffinity(FcModel):
    sse_endpoint_path: Annotated[str | None, Text(1, 1024, r"/\S*", "be a path that starts with /")] = None
    session_concurrency_per_instance: PerInstance = None


class McpStreamableAffinity(FcModel):
    session_concurrency_per_instance: PerInstance = None
    session_ttl_in_seconds: Lifetime = Field(default=None, alias="sessionTTLInSeconds")
    session_idle_timeout_in_seconds: IdleTimeout = None


CONFIGS: Final[Mapping[str, type[FcModel]]] = MappingProxyType(
    {
        "GENERATED_COOKIE": CookieAffinity,
        "HEADER_FIELD": HeaderAffinity,
        "MCP_SSE": McpSseAffinity,
        "MCP_STREAMABLE": McpStreamableAffinity,
    }
)
AFFINITIES: Final = ("NONE", *CONFIGS)


def affinity_violations(affinity: str | None, config: str | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a sessionAffinityConfig text for its kind of affinity."""
    model = CONFIGS.get(affinity or "NONE")
    if model is None:
        if config is not None:
            yield "sessionAffinityConfig", "is only used together with a sessionAffinity other than NONE"
        return
    if config is None:
        if model is HeaderAffinity:
            yield "sessionAffinityConfig", "is required by HEADER_FIELD, for its affinityHeaderFieldName"
        return
    parsed: dict[str, Any] = json.loads(config)
    for path, predicate in findings(model, parsed):
        yield f"sessionAffinityConfig.{path}" if path else "sessionAffinityConfig", predicate
