"""CustomDomain: a name of one's own in front of functions.

Owns: the routes of one domain. Promises: routes go to a function's live alias. Never: certificates (plain
HTTP; TLS ends in front of it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

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
class CustomDomainArgs:
    """path: ``/*`` for everything, or a prefix such as ``/v1/*``."""

    domain_name: str
    function: GpuFunction
    path: str = "/*"


class CustomDomain(pulumi.ComponentResource):
    """A domain that routes to one function. url: ``http://<domain>``."""

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
        route = {
            "path": args.path,
            "functionName": args.function.function_name,
            "qualifier": args.function.alias_name,
        }
        self.domain = FcCustomDomain(
            name,
            # FC refuses a route to a qualifier that has no http trigger yet.
            pulumi.ResourceOptions(parent=self, depends_on=[args.function.trigger]),
            domain_name=args.domain_name,
            protocol="HTTP",
            route_config={"routes": [route]},
        )
        self.url: pulumi.Output[str] = self.domain.domain_name.apply(lambda domain: f"http://{domain}")
        self.register_outputs({"url": self.url})
