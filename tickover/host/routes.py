"""Where a request goes: the API, the admin API, a function's own URL, or a custom domain.

Owns: the routing table made from the declared triggers and domains. Promises: `decide` is a function of
(table, head); exact beats wildcard and the longest prefix wins. Never: checks a credential, waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tickover.host.affinity import has_affinity
from tickover.host.auth import AuthRule, domain_rule, trigger_rule
from tickover.host.cors import CorsRule, cors_rule
from tickover.host.http import MAX_PATH_BYTES, Head, HttpError
from tickover.host.idle_settings import idle_settings
from tickover.host.model import LATEST
from tickover.host.registry import ObjectRegistry
from tickover.host.rewrites import Rewrites, compile_rewrites
from tickover.host.store import Kind

API_PREFIX = "/2023-03-30"
ADMIN_PREFIX = "/_tickover/v1"
FUNCTION_PREFIX = "/fn/"
_REMEMBERED = 1024  # of a table; bounded, for callers make up paths
_REMEMBERED_LENGTH = 256
_Asked = tuple[str, bytes, str, bool]  # method, Host, target, TLS: all that a decision depends on


@dataclass(frozen=True, slots=True)
class ToApi:
    pass


@dataclass(frozen=True, slots=True)
class ToAdmin:
    pass


@dataclass(frozen=True, slots=True)
class ToFunction:
    """An invocation through an HTTP trigger; target is what the instance gets."""

    function_name: str
    qualifier: str
    target: str
    auth: AuthRule


Decision = ToApi | ToAdmin | ToFunction | HttpError


@dataclass(frozen=True, slots=True)
class TriggerRoute:
    auth: AuthRule
    methods: frozenset[str]
    has_own_url: bool
    cors: CorsRule | None = None


@dataclass(frozen=True, slots=True)
class PathRoute:
    path: str
    function_name: str
    qualifier: str
    methods: frozenset[str]
    rewrites: Rewrites | None = None

    def matches(self, path: str) -> bool:
        return path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path

    @property
    def rank(self) -> tuple[bool, int]:
        """Exact first, then the longest."""
        return (self.path.endswith("*"), -len(self.path))


@dataclass(frozen=True, slots=True)
class DomainRoute:
    auth: AuthRule | None
    paths: tuple[PathRoute, ...]
    cors: CorsRule | None = None
    protocols: frozenset[str] = frozenset({"HTTP"})


class RouteTable:
    """Triggers and domains, compiled once per change of the registry."""

    def __init__(self, registry: ObjectRegistry) -> None:
        functions, versions = registry.select(Kind.FUNCTION), registry.select(Kind.VERSION)
        self._functions = frozenset(row.name for row in functions)
        self._sticky = frozenset(row.name for row in functions if has_affinity(row.body)) | frozenset(
            row.parent for row in versions if has_affinity(row.body)
        )
        self._prefixed = frozenset(row.name for row in functions if _follows_prefixes(row.body)) | frozenset(
            row.parent for row in versions if _follows_prefixes(row.body)
        )
        self._triggers: dict[tuple[str, str], TriggerRoute] = {}
        for row in registry.select(Kind.TRIGGER):
            if row.body["triggerType"] == "http":
                key = (row.parent, row.body.get("qualifier") or LATEST)
                self._triggers[key] = _trigger_route(row.body)
        self._domains = {row.name.lower(): _domain_route(row.body) for row in registry.select(Kind.DOMAIN)}
        self._remembered: dict[_Asked, tuple[Decision, CorsRule | None]] = {}

    def look_up(self, head: Head) -> tuple[Decision, CorsRule | None]:
        """`decide` and `cors`, remembered: a host is asked for few paths, and for each of them often."""
        host = head.header(b"host") or b""
        if len(head.target) + len(host) > _REMEMBERED_LENGTH:
            return self.decide(head), self.cors(head)
        key = (head.method, host, head.target, head.is_tls)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = (self.decide(head), self.cors(head))
        return found

    def decide(self, head: Head) -> Decision:
        """Where this request goes, or FC's refusal."""
        if self._domains and (domain := self._domain(head.host)) is not None:
            return self._by_domain(head, domain)
        path = head.path
        if path.startswith(FUNCTION_PREFIX):
            return self._by_path(head)
        if path.startswith(API_PREFIX + "/"):
            return ToApi()
        if path.startswith(ADMIN_PREFIX + "/"):
            return ToAdmin()
        return HttpError(404, "DomainRouteNotFound", f"no custom domain {head.host!r} and no API at {path!r}")

    def is_choosy(self, function_name: str) -> bool:
        """Whether any version of a function has session or prefix affinity: more than the head counts."""
        return self.keeps_sessions(function_name) or self.follows_prefixes(function_name)

    def follows_prefixes(self, function_name: str) -> bool:
        """Whether any version of a function has prefix affinity."""
        return function_name in self._prefixed

    def keeps_sessions(self, function_name: str) -> bool:
        """Whether any version of a function has session affinity: which one is asked for has to be seen."""
        return function_name in self._sticky

    def cors(self, head: Head) -> CorsRule | None:
        """What a browser may do with the URL of this request: the domain's rule, or the trigger's."""
        if self._domains and (domain := self._domain(head.host)) is not None:
            return domain.cors
        if not head.path.startswith(FUNCTION_PREFIX):
            return None
        name = head.path[len(FUNCTION_PREFIX) :].partition("/")[0]
        function_name, _, qualifier = name.partition(".")
        trigger = self._triggers.get((function_name, qualifier or LATEST))
        return trigger.cors if trigger is not None else None

    def _domain(self, host: str) -> DomainRoute | None:
        found = self._domains.get(host)
        if found is None and "." in host:
            found = self._domains.get("*." + host.partition(".")[2])
        return found

    def _by_domain(self, head: Head, domain: DomainRoute) -> Decision:
        spoken = "HTTPS" if head.is_tls else "HTTP"
        if spoken not in domain.protocols:
            served = " and ".join(sorted(domain.protocols))
            return HttpError(403, "AccessDenied", f"domain {head.host} is served over {served} only")
        fitting = [r for r in domain.paths if r.matches(head.path)]
        if not fitting:
            return HttpError(404, "DomainRouteNotFound", f"domain {head.host} has no route for {head.path}")
        route = next((r for r in fitting if not r.methods or head.method in r.methods), None)
        if route is None:
            return HttpError(405, "MethodNotAllowed", f"no route for {head.path} takes {head.method}")
        target = head.target if route.rewrites is None else route.rewrites.apply(head.target)
        if len(target) > MAX_PATH_BYTES:
            return HttpError(400, "InvalidArgument", f"the rewritten path exceeds {MAX_PATH_BYTES} bytes")
        return self._to_function(head, route.function_name, route.qualifier, target, domain.auth)

    def _by_path(self, head: Head) -> Decision:
        name, _, rest = head.path[len(FUNCTION_PREFIX) :].partition("/")
        function_name, _, qualifier = name.partition(".")
        query = head.query
        target = "/" + rest + ("?" + query if query else "")
        trigger = self._triggers.get((function_name, qualifier or LATEST))
        if trigger is not None and not trigger.has_own_url:
            return HttpError(403, "AccessDenied", f"the own URL of function {function_name} is disabled")
        return self._to_function(head, function_name, qualifier or LATEST, target, None)

    def _to_function(
        self, head: Head, function_name: str, qualifier: str, target: str, auth: AuthRule | None
    ) -> Decision:
        if function_name not in self._functions:
            return HttpError(404, "FunctionNotFound", f"function '{function_name}' does not exist")
        trigger = self._triggers.get((function_name, qualifier))
        if trigger is None:
            return HttpError(
                404,
                "TriggerNotFound",
                f"function '{function_name}' has no HTTP trigger for qualifier '{qualifier}'",
            )
        if trigger.methods and head.method not in trigger.methods:
            return HttpError(405, "MethodNotAllowed", f"{head.method} is not among the trigger's methods")
        return ToFunction(function_name, qualifier, target, auth or trigger.auth)


class RouteCache:
    """The table of the registry as it is now."""

    def __init__(self, registry: ObjectRegistry) -> None:
        self._registry = registry
        self._generation = -1
        self._table = RouteTable(registry)

    def current(self) -> RouteTable:
        if self._generation != self._registry.generation:
            self._table = RouteTable(self._registry)
            self._generation = self._registry.generation
        return self._table


def _follows_prefixes(spec: Mapping[str, Any]) -> bool:
    return bool(idle_settings(spec.get("environmentVariables")).prefix_affinity)


def _trigger_route(body: dict[str, Any]) -> TriggerRoute:
    rule, config = trigger_rule(body.get("triggerConfig"))
    return TriggerRoute(
        auth=rule,
        methods=frozenset(config.get("methods") or ()),
        has_own_url=not config.get("disableURLInternet", False),
        cors=cors_rule(config.get("corsConfig")),
    )


def _domain_route(body: dict[str, Any]) -> DomainRoute:
    routes = (body.get("routeConfig") or {}).get("routes") or ()
    paths = tuple(
        PathRoute(
            path=route.get("path") or "/*",
            function_name=route.get("functionName") or "",
            qualifier=route.get("qualifier") or LATEST,
            methods=frozenset(route.get("methods") or ()),
            rewrites=compile_rewrites(route.get("rewriteConfig")),
        )
        for route in routes
    )
    return DomainRoute(
        auth=domain_rule(body.get("authConfig")),
        paths=tuple(sorted(paths, key=lambda r: r.rank)),
        protocols=frozenset((body.get("protocol") or "HTTP").split(",")),
        cors=cors_rule(body.get("corsConfig")),
    )
