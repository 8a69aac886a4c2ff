"""CustomDomain: a name of one's own in front of functions.

Owns: the routes of one domain, its certificate, and who may call it. Promises: routes go to a function's live
alias; a private key and what lets callers in are secrets. Never: gets a certificate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi

from tickover.errors import ConfigError
from tickover.provider.resources import CustomDomain as FcCustomDomain

from .function import GpuFunction

_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DOMAIN: Final = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+{_LABEL}")


def is_domain_name(text: str) -> bool:
    """True for ``chat.example.com`` and ``*.example.com``."""
    return bool(_DOMAIN.fullmatch(text)) and len(text) <= 253


@dataclass(frozen=True, slots=True)
class RouteArgs:
    """One path of a domain. methods: all, if none is named. rewrite: FC's rewriteConfig."""

    path: str
    function: GpuFunction
    methods: tuple[str, ...] = ()
    rewrite: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CertificateArgs:
    """A certificate in PEM form with its chain, and its private key. min_version: TLSv1.2 or TLSv1.3."""

    certificate: pulumi.Input[str]
    private_key: pulumi.Input[str] = field(repr=False)
    name: str = "own"
    min_version: str = "TLSv1.2"


@dataclass(frozen=True, slots=True)
class AcmeArgs:
    """A certificate that a host gets and renews by itself, from the ACME server that it was started with.

    challenge: http-01 (the host is reached at port 80) or tls-alpn-01 (at port 443). Not for the cloud.
    """

    challenge: str = "http-01"
    min_version: str = "TLSv1.2"


@dataclass(frozen=True, slots=True)
class CustomDomainArgs:
    """path: ``/*`` for everything, or a prefix such as ``/v1/*``; routes: other paths, of any functions.

    certificate: makes it HTTPS, one's own or by ACME; protocol: ``HTTP,HTTPS`` for both. cors: FC's
    corsConfig. auth: FC's authConfig, its authInfo as an object or as FC's text; without it the trigger's
    rule counts.
    """

    domain_name: str
    function: GpuFunction
    path: str = "/*"
    routes: tuple[RouteArgs, ...] = ()
    certificate: CertificateArgs | AcmeArgs | None = None
    protocol: str = ""
    auth: Mapping[str, Any] | None = field(default=None, repr=False)
    cors: Mapping[str, Any] | None = None


def _route(args: RouteArgs) -> dict[str, Any]:
    route: dict[str, Any] = {
        "path": args.path,
        "functionName": args.function.function_name,
        "qualifier": args.function.alias_name,
    }
    if args.methods:
        route["methods"] = list(args.methods)
    if args.rewrite:
        route["rewriteConfig"] = dict(args.rewrite)
    return route


def _auth(auth: Mapping[str, Any]) -> dict[str, Any]:
    info = auth.get("authInfo")
    return {**auth, "authInfo": json.dumps(info)} if isinstance(info, Mapping) else dict(auth)


def _certificate(args: CertificateArgs | AcmeArgs) -> dict[str, Any]:
    tls = {"minVersion": args.min_version, "maxVersion": "TLSv1.3"}
    if isinstance(args, AcmeArgs):
        return {
            "cert_config": {"certName": "acme", "certificate": f"acme://{args.challenge}"},
            "tls_config": tls,
        }
    return {
        "cert_config": {
            "certName": args.name,
            "certificate": args.certificate,
            "privateKey": pulumi.Output.secret(args.private_key),
        },
        "tls_config": tls,
    }


class CustomDomain(pulumi.ComponentResource):
    """A domain that routes to functions. url: ``http://<domain>``, or ``https://`` with a certificate."""

    def __init__(self, name: str, args: CustomDomainArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        if not is_domain_name(args.domain_name):
            raise ConfigError(
                "bad-domain",
                "Domain name is not valid",
                f"{name}: `domain_name` must be a host name such as chat.example.com, "
                f"not {args.domain_name!r}.",
                address=name,
            )
        super().__init__("tickover:index:CustomDomain", name, {"domainName": args.domain_name}, opts)
        routes = (*args.routes, RouteArgs(args.path, args.function))
        more: dict[str, Any] = {} if args.certificate is None else _certificate(args.certificate)
        if args.auth:
            more["auth_config"] = pulumi.Output.secret(_auth(args.auth))
        if args.cors:
            more["cors_config"] = dict(args.cors)
        scheme = "http" if args.certificate is None else "https"
        self.domain = FcCustomDomain(
            name,
            # FC refuses a route to a qualifier that has no http trigger yet.
            pulumi.ResourceOptions(parent=self, depends_on=[r.function.trigger for r in routes]),
            domain_name=args.domain_name,
            protocol=args.protocol or scheme.upper(),
            route_config={"routes": [_route(route) for route in routes]},
            **more,
        )
        self.url: pulumi.Output[str] = self.domain.domain_name.apply(lambda domain: f"{scheme}://{domain}")
        self.register_outputs({"url": self.url})
