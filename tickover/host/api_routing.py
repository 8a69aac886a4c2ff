"""Triggers and custom domains, as the FC API has them.

Owns: those handlers. Promises: a trigger or domain that this host could not serve as declared is refused.
Never: routes a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tickover.fc.domain import CustomDomain
from tickover.fc.trigger import Trigger
from tickover.host.acme_plan import refusal as acme_refusal
from tickover.host.api_context import ApiContext, Call, invalid, not_supported, page, times
from tickover.host.api_functions import NO_CONTENT, checked, listed
from tickover.host.auth import AuthRuleError, domain_rule, trigger_rule
from tickover.host.cors import CorsRuleError, cors_rule
from tickover.host.http import HttpError, Response, json_response
from tickover.host.model import LATEST
from tickover.host.rewrites import RewriteError, compile_rewrites
from tickover.host.store import Kind, Row
from tickover.host.tls import CertificateError, check_site

# -- triggers ----------------------------------------------------------------------------------------------


def trigger_out(context: ApiContext, row: Row) -> dict[str, Any]:
    qualifier = row.body["qualifier"]
    suffix = "" if qualifier == LATEST else f".{qualifier}"
    url = f"{context.base_url()}/fn/{row.parent}{suffix}"
    return {
        **row.body,
        **times(row),
        "triggerName": row.name,
        "triggerId": row.meta["triggerId"],
        "status": "",
        "targetArn": context.arn(row.parent, qualifier),
        "httpTrigger": {"urlInternet": url, "urlIntranet": url},
    }


def _checked_trigger(
    context: ApiContext, function_name: str, name: str, wire: Mapping[str, Any]
) -> dict[str, Any]:
    body = checked(Trigger, {**wire, "triggerName": name, "functionName": function_name})
    kind, qualifier = body["triggerType"], body.get("qualifier") or LATEST
    if kind != "http":
        raise not_supported(f"triggerType {kind}")
    try:
        _, config = trigger_rule(body.get("triggerConfig"))
        cors_rule(config.get("corsConfig"))
    except (AuthRuleError, CorsRuleError) as err:
        raise invalid(f"triggerConfig: {err}") from err
    context.registry.resolve(function_name, qualifier)
    other = context.registry.http_trigger(function_name, qualifier)
    if other is not None and other.name != name:
        raise HttpError(
            409,
            "TriggerAlreadyExists",
            f"qualifier '{qualifier}' of '{function_name}' has the HTTP trigger '{other.name}' already",
        )
    return {**body, "qualifier": qualifier}


async def create_trigger(context: ApiContext, call: Call) -> Response:
    function_name = call.function_name
    context.registry.function(function_name)
    name = call.body.get("triggerName") or ""
    if context.registry.find(Kind.TRIGGER, function_name, name) is not None:
        raise HttpError(409, "TriggerAlreadyExists", f"trigger '{name}' of '{function_name}' already exists")
    body = _checked_trigger(context, function_name, name, call.body)
    now = context.now_ns()
    meta = {"triggerId": f"{context.registry.function(function_name).meta['functionId']}-{name}"}
    row = Row(Kind.TRIGGER, function_name, name, body, meta, now, now)
    context.registry.put(row)
    return json_response(trigger_out(context, row))


async def list_triggers(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    rows, token = page(call, context.registry.select(Kind.TRIGGER, call.function_name), lambda r: r.name)
    return json_response(listed("triggers", [trigger_out(context, r) for r in rows], token))


async def get_trigger(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    row = context.registry.get(Kind.TRIGGER, call.function_name, call.names["trigger"])
    return json_response(trigger_out(context, row))


async def update_trigger(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    old = context.registry.get(Kind.TRIGGER, call.function_name, call.names["trigger"])
    given = {k: v for k, v in call.body.items() if k not in ("triggerName", "triggerType", "sourceArn")}
    body = _checked_trigger(context, old.parent, old.name, {**old.body, **given})
    row = Row(Kind.TRIGGER, old.parent, old.name, body, old.meta, old.created_ns, context.now_ns())
    context.registry.put(row)
    return json_response(trigger_out(context, row))


async def delete_trigger(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    context.registry.delete(context.registry.get(Kind.TRIGGER, call.function_name, call.names["trigger"]).key)
    return NO_CONTENT


# -- custom domains ----------------------------------------------------------------------------------------


def domain_out(context: ApiContext, row: Row) -> dict[str, Any]:
    return {
        **row.body,
        **times(row),
        "domainName": row.name,
        "accountId": context.credentials.account_id,
        "apiVersion": "2023-03-30",
    }


def _checked_domain(context: ApiContext, name: str, wire: Mapping[str, Any]) -> dict[str, Any]:
    body = checked(CustomDomain, {**wire, "domainName": name})
    if why := acme_refusal(name, body, is_set_up=context.has_acme):
        raise invalid(why)
    try:
        check_site(name, body)
    except CertificateError as err:
        raise invalid(str(err)) from err
    try:
        cors_rule(body.get("corsConfig"))
    except CorsRuleError as err:
        raise invalid(str(err)) from err
    try:
        domain_rule(body.get("authConfig"))
    except AuthRuleError as err:
        raise invalid(f"authConfig: {err}") from err
    for index, route in enumerate((body.get("routeConfig") or {}).get("routes") or ()):
        try:
            compile_rewrites(route.get("rewriteConfig"))
        except RewriteError as err:
            raise invalid(f"routeConfig.routes[{index}].rewriteConfig.{err}") from err
        function_name = str(route.get("functionName") or "")
        context.registry.function(function_name)
        context.registry.resolve(function_name, route.get("qualifier") or LATEST)
    return body


async def create_domain(context: ApiContext, call: Call) -> Response:
    name = str(call.body.get("domainName") or "").lower()
    if context.registry.find(Kind.DOMAIN, "", name) is not None:
        raise HttpError(409, "DomainNameAlreadyExists", f"domain '{name}' already exists")
    body = _checked_domain(context, name, call.body)
    now = context.now_ns()
    row = Row(Kind.DOMAIN, "", name, body, {}, now, now)
    context.registry.put(row)
    context.changed()
    return json_response(domain_out(context, row))


async def list_domains(context: ApiContext, call: Call) -> Response:
    rows, token = page(call, context.registry.select(Kind.DOMAIN), lambda r: r.name)
    return json_response(listed("customDomains", [domain_out(context, r) for r in rows], token))


async def get_domain(context: ApiContext, call: Call) -> Response:
    return json_response(
        domain_out(context, context.registry.get(Kind.DOMAIN, "", call.names["domain"].lower()))
    )


async def update_domain(context: ApiContext, call: Call) -> Response:
    old = context.registry.get(Kind.DOMAIN, "", call.names["domain"].lower())
    given = {k: v for k, v in call.body.items() if k != "domainName"}
    body = _checked_domain(context, old.name, {**old.body, **given})
    row = Row(Kind.DOMAIN, "", old.name, body, {}, old.created_ns, context.now_ns())
    context.registry.put(row)
    context.changed()
    return json_response(domain_out(context, row))


async def delete_domain(context: ApiContext, call: Call) -> Response:
    context.registry.delete(context.registry.get(Kind.DOMAIN, "", call.names["domain"].lower()).key)
    return NO_CONTENT
