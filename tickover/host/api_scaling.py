"""Provision configs, concurrency limits and the instances, as the FC API has them.

Owns: those handlers. Promises: target and current are what is in force now. Never: starts or stops an
instance; the pool does after it is told.
"""

from __future__ import annotations

from typing import Any

from tickover.fc.concurrency import ConcurrencyConfig
from tickover.fc.provision import ProvisionConfig
from tickover.host.api_context import ApiContext, Call, invalid, not_supported, page
from tickover.host.api_functions import NO_CONTENT, checked, listed
from tickover.host.http import Response, json_response
from tickover.host.model import LATEST, InstanceState, InstanceView
from tickover.host.store import Kind, Row
from tickover.host.targets import schedule_problems

_STATUS_WORDS = {
    InstanceState.CREATING: "RuntimeInitializing",
    InstanceState.STARTING: "RuntimeInitializing",
    InstanceState.WARMING: "Initializing",
    InstanceState.DRAINING: "Running",
    InstanceState.STOPPING: "Destroyed",
    InstanceState.STOPPED: "Destroyed",
    InstanceState.FAILED: "Failed",
}
# InstanceInfo has one word for an instance that is up, whether it works, waits or is frozen.
_UP = "Running"


# -- provision configs -------------------------------------------------------------------------------------


def provision_out(context: ApiContext, row: Row) -> dict[str, Any]:
    status = context.pool.status(row.parent, row.name)
    body = {
        "alwaysAllocateCPU": True,
        "alwaysAllocateGPU": True,
        "scheduledActions": [],
        "targetTrackingPolicies": [],
        **row.body,
    }
    return {
        **body,
        "target": status.target,
        "current": status.current,
        "currentError": status.current_error,
        "functionArn": context.arn(row.parent, row.name),
    }


async def put_provision(context: ApiContext, call: Call) -> Response:
    function_name, qualifier = call.function_name, call.qualifier
    context.registry.function(function_name)
    if qualifier.isdigit():
        raise invalid("qualifier: a provision config hangs on LATEST or an alias, never on a version number")
    resolved = context.registry.resolve(function_name, qualifier)
    body = checked(ProvisionConfig, {**call.body, "functionName": function_name, "qualifier": qualifier})
    deprecated = body.pop("target", None)
    if deprecated is not None:
        body["defaultTarget"] = deprecated
    problems = schedule_problems(body)
    if problems:
        raise invalid(*problems)
    if body.get("targetTrackingPolicies"):
        raise not_supported("targetTrackingPolicies")
    gives_gpu = body.get("alwaysAllocateGPU") is False
    keeps_cpu = body.get("alwaysAllocateCPU", True)
    if gives_gpu and keeps_cpu and resolved.spec.gpu_config is not None:
        raise invalid("alwaysAllocateCPU: must be false too when alwaysAllocateGPU is false")
    now = context.now_ns()
    old = context.registry.find(Kind.PROVISION, function_name, qualifier)
    row = Row(Kind.PROVISION, function_name, qualifier, body, {}, old.created_ns if old else now, now)
    if excess := context.registry.over_limit(row):
        raise invalid(f"defaultTarget: {excess}")
    context.registry.put(row)
    context.changed()
    return json_response(provision_out(context, row))


async def get_provision(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    row = context.registry.get(Kind.PROVISION, call.function_name, call.qualifier)
    return json_response(provision_out(context, row))


async def delete_provision(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    row = context.registry.get(Kind.PROVISION, call.function_name, call.qualifier)
    context.registry.delete(row.key)
    context.changed()
    return NO_CONTENT


async def list_provisions(context: ApiContext, call: Call) -> Response:
    of = call.query.get("functionName") or None
    rows, token = page(call, context.registry.select(Kind.PROVISION, of), lambda r: r.parent)
    return json_response(listed("provisionConfigs", [provision_out(context, r) for r in rows], token))


# -- concurrency -------------------------------------------------------------------------------------------


def concurrency_out(context: ApiContext, row: Row) -> dict[str, Any]:
    return {**row.body, "functionArn": context.arn(row.name)}


async def put_concurrency(context: ApiContext, call: Call) -> Response:
    function_name = call.function_name
    context.registry.function(function_name)
    body = checked(ConcurrencyConfig, {**call.body, "functionName": function_name})
    now = context.now_ns()
    old = context.registry.find(Kind.CONCURRENCY, "", function_name)
    row = Row(Kind.CONCURRENCY, "", function_name, body, {}, old.created_ns if old else now, now)
    if excess := context.registry.over_limit(row):
        raise invalid(f"reservedConcurrency: {excess}")
    context.registry.put(row)
    return json_response(concurrency_out(context, row))


async def get_concurrency(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    return json_response(
        concurrency_out(context, context.registry.get(Kind.CONCURRENCY, "", call.function_name))
    )


async def delete_concurrency(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    context.registry.delete(context.registry.get(Kind.CONCURRENCY, "", call.function_name).key)
    return NO_CONTENT


async def list_concurrency(context: ApiContext, call: Call) -> Response:
    of = call.query.get("functionName")
    rows = tuple(r for r in context.registry.select(Kind.CONCURRENCY) if not of or r.name == of)
    chosen, token = page(call, rows, lambda r: r.name)
    return json_response(listed("configs", [concurrency_out(context, r) for r in chosen], token))


# -- instances ---------------------------------------------------------------------------------------------


def instance_out(view: InstanceView) -> dict[str, Any]:
    found = {
        "instanceId": view.instance_id,
        "status": _STATUS_WORDS.get(view.state, _UP),
        "versionId": view.version_id,
        "qualifier": view.qualifier,
        "resourceType": "provisioned",
        "createdTimeMs": view.created_ns // 1_000_000,
    }
    if view.destroyed_ns is not None:
        found["destroyedTimeMs"] = view.destroyed_ns // 1_000_000
    return found


async def list_instances(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    wanted_qualifier = call.query.get("qualifier")
    if wanted_qualifier and wanted_qualifier != LATEST:
        context.registry.resolve(call.function_name, wanted_qualifier)
    ids = _names(call.query.get("instanceIds"))
    states = _names(call.query.get("instanceStatus"))
    found = [
        instance_out(view)
        for view in context.pool.instances(call.function_name)
        if (not wanted_qualifier or view.qualifier == wanted_qualifier)
        and (not ids or view.instance_id in ids)
    ]
    shown = [f for f in found if not states or f["status"] in states]
    return json_response({"instances": shown, "requestId": call.headers.get("request-id", "")})


def _names(text: str | None) -> frozenset[str]:
    """A list in a query: comma-separated or a JSON array, as clients send either."""
    if not text:
        return frozenset()
    return frozenset(part.strip(' "') for part in text.strip("[]").split(",") if part.strip(' "'))
