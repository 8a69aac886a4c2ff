"""Custom domains: host and path to function.

Owns: `CustomDomain`, its routes, certificate, TLS and auth, and which route a path takes. Promises: FC's
names and limits; keys and tokens never in a message or repr. Never: resolves a name or serves TLS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field, StrictBool

from tickover.fc.alias import Qualifier
from tickover.fc.base import FcModel, Wire
from tickover.fc.function import FunctionName
from tickover.fc.limits import Choice, Json, Text
from tickover.fc.trigger import AuthType, CorsConfig, Method, auth_violations

PROTOCOLS: Final = ("HTTP", "HTTPS", "HTTP,HTTPS")
TLS_VERSIONS: Final = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
CIPHER_SUITES: Final = (
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    *("TLS_RSA_WITH_RC4_128_SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    *("TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    *("TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    *("TLS_ECDHE_RSA_WITH_RC4_128_SHA", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    *("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    *("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    *("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"),
    *("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    *("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    *("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    *("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"),
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
)
ACME: Final = "acme://"
CHALLENGES: Final = ("http-01", "tls-alpn-01")
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
TlsVersion = Annotated[str | None, Choice(*TLS_VERSIONS)]
RoutePath = Annotated[
    str, Text(1, 1024, r"/[^*\s]*\*?", "start with / and have * at most once, at the end, as in /v1/*")
]


class RewriteRule(FcModel):
    match: Annotated[str, Text(1, 1024)]
    replacement: str


class RewriteConfig(FcModel):
    equal_rules: list[RewriteRule] | None = None
    wildcard_rules: list[RewriteRule] | None = None
    regex_rules: list[RewriteRule] | None = None


class PathConfig(FcModel):
    """A route. The function needs an HTTP trigger for the qualifier."""

    path: RoutePath
    function_name: FunctionName
    qualifier: Qualifier | None = None
    methods: list[Method] | None = None
    rewrite_config: RewriteConfig | None = None

    defaults = {"qualifier": "LATEST"}  # noqa: RUF012 - read-only, typed in FcModel


def _distinct_paths(wire: Wire) -> Iterator[tuple[str, str]]:
    routes = wire.get("routes")
    if routes == []:
        yield "routes", "must have at least one route"
    seen: dict[tuple[str, str], int] = {}
    for index, route in enumerate(routes or ()):
        path = route.get("path") if isinstance(route, dict) else None
        for method in (route.get("methods") or ("*",)) if path else ():
            first = seen.setdefault((str(path), str(method)), index)
            if first != index:
                yield f"routes[{index}].path", f"must differ from routes[{first}].path, but both are {path}"


class RouteConfig(FcModel):
    routes: list[PathConfig]

    rules = (_distinct_paths,)


def _key_of_its_own(wire: Wire) -> Iterator[tuple[str, str]]:
    has_key = "privateKey" in wire
    if str(wire.get("certificate", "")).startswith(ACME):
        if has_key:
            yield "privateKey", f"is not used with a certificate by {ACME}"
    elif not has_key:
        yield "privateKey", "is required"


class CertConfig(FcModel):
    """certificate: PEM, or ``acme://`` and a challenge for one that tickover's host gets by itself; FC has
    nothing like that."""

    cert_name: Annotated[str, Text(1, 128)]
    certificate: Annotated[
        str,
        Text(
            1,
            20480,
            rf"(?s).*-----BEGIN CERTIFICATE-----.*|{ACME}({'|'.join(CHALLENGES)})",
            f"be a certificate in PEM form, or on a host {' or '.join(ACME + c for c in CHALLENGES)}",
            show=False,
        ),
    ]
    private_key: Annotated[
        str | None,
        Text(1, 4096, r"(?s).*-----BEGIN .*PRIVATE KEY-----.*", "be a key in PEM form", show=False),
    ] = Field(default=None, repr=False)

    rules = (_key_of_its_own,)


def _ordered_versions(wire: Wire) -> Iterator[tuple[str, str]]:
    low, high = wire.get("minVersion"), wire.get("maxVersion")
    if low and high and high < low:
        yield "maxVersion", f"must not be below minVersion {low}, but is {high}"


class TlsConfig(FcModel):
    min_version: TlsVersion = None
    max_version: TlsVersion = None
    cipher_suites: list[Annotated[str, Choice(*CIPHER_SUITES)]] | None = None

    rules = (_ordered_versions,)


def _auth(wire: Wire) -> Iterator[tuple[str, str]]:
    if "authType" not in wire and "authInfo" not in wire:
        return
    yield from auth_violations(wire.get("authType", "anonymous"), wire.get("authInfo"), "authInfo")


class AuthConfig(FcModel):
    """auth_info: a JSON text, shaped as a trigger's authConfig."""

    auth_type: AuthType = None
    auth_info: Annotated[str | None, Json()] = Field(default=None, repr=False)

    rules = (_auth,)


class WafConfig(FcModel):
    enable_waf: StrictBool | None = Field(default=None, alias="enableWAF")


def _https_needs_certificate(wire: Wire) -> Iterator[tuple[str, str]]:
    protocol = wire.get("protocol")
    if protocol is None:
        return
    if "HTTPS" in protocol and "certConfig" not in wire:
        yield "certConfig", f"is required by protocol {protocol}"
    if protocol == "HTTP":
        for name in ("certConfig", "tlsConfig"):
            if name in wire:
                yield name, "is only used with protocol HTTPS or HTTP,HTTPS"


class CustomDomain(FcModel):
    """A domain that a CNAME points here. domain_name: a name, or ``*.`` and a name."""

    domain_name: Annotated[
        str, Text(1, 253, rf"(\*\.)?({_LABEL}\.)+{_LABEL}", "be a domain name such as chat.example.com")
    ]
    protocol: Annotated[str, Choice(*PROTOCOLS)] = "HTTP"
    route_config: RouteConfig | None = None
    cert_config: CertConfig | None = None
    tls_config: TlsConfig | None = None
    auth_config: AuthConfig | None = None
    cors_config: CorsConfig | None = None
    waf_config: WafConfig | None = None
    is_e2b: StrictBool | None = Field(default=None, alias="isE2B")

    rules = (_https_needs_certificate,)
    create_only = frozenset({"domainName", "isE2B"})


def route_for(config: RouteConfig, path: str) -> PathConfig | None:
    """The route a request path takes: the exact one, else the longest prefix with ``*``."""
    best: PathConfig | None = None
    for route in config.routes:
        if route.path == path:
            return route
        is_prefix = route.path.endswith("*") and path.startswith(route.path[:-1])
        if is_prefix and (best is None or len(route.path) > len(best.path)):
            best = route
    return best
