"""Functions, their versions and aliases, as the FC API has them.

Owns: those handlers. Promises: a refusal changes nothing and lists all that is wrong; versions are
immutable and their numbers only grow. Never: touches an instance except through the pool.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from tickover.fc.alias import Alias
from tickover.fc.base import FcModel
from tickover.fc.function import Function
from tickover.fc.validate import InvalidResource, parse
from tickover.fc.version import FunctionVersion
from tickover.host.api_context import ApiContext, Call, invalid, page, times
from tickover.host.http import HttpError, Response, json_response
from tickover.host.idle_settings import PREFIX_VARIABLE, idle_problems, idle_settings
from tickover.host.looks import FolderSilent
from tickover.host.model import LATEST
from tickover.host.nas import nas_problems
from tickover.host.store import Kind, Row

NO_CONTENT = Response(204)


def checked(model: type[FcModel], wire: Mapping[str, Any]) -> dict[str, Any]:
    """The object in FC's spelling, without what travels in the path; InvalidArgument with every violation."""
    try:
        return parse(model, wire).to_body()
    except InvalidResource as err:
        raise invalid(*map(str, err.violations)) from err


def without_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in body.items() if v is not None}


# -- functions ---------------------------------------------------------------------------------------------


async def _checked_function(context: ApiContext, name: str, wire: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as it is kept, functionName included."""
    spec = {**checked(Function, {**wire, "functionName": name}), "functionName": name}
    model = Function.model_validate(spec)
    try:
        missing = await context.looks.of(model, lambda: nas_problems(spec, context.nas))
    except FolderSilent as error:
        missing = (f"nasConfig: {error.reason}",)
    problems = (*missing, *idle_problems(spec.get("environmentVariables")))
    if problems:
        raise invalid(*problems)
    if (
        spec.get("sessionAffinity", "NONE") != "NONE"
        and spec.get("instanceIsolationMode") == "REQUEST_EXCLUSIVE"
    ):
        raise invalid("sessionAffinity: cannot be had together with instanceIsolationMode REQUEST_EXCLUSIVE")
    has_prefixes = idle_settings(spec.get("environmentVariables")).prefix_affinity
    if has_prefixes and spec.get("sessionAffinity", "NONE") != "NONE":
        raise invalid(
            f"environmentVariables.{PREFIX_VARIABLE}: cannot be on together with sessionAffinity: a session "
            "says already which instance it is on"
        )
    return spec


def function_out(context: ApiContext, row: Row) -> dict[str, Any]:
    """A function as GetFunction shows it."""
    return {
        **row.body,
        **times(row),
        "functionId": row.meta["functionId"],
        "functionArn": context.arn(row.name),
        "state": "Active",
        "lastUpdateStatus": "Successful",
    }


async def create_function(context: ApiContext, call: Call) -> Response:
    name = call.body.get("functionName") or ""
    spec = await _checked_function(context, name, call.body)
    if context.registry.find(Kind.FUNCTION, "", name) is not None:
        raise HttpError(409, "FunctionAlreadyExists", f"function '{name}' already exists")
    now = context.now_ns()
    row = Row(Kind.FUNCTION, "", name, spec, {"functionId": str(uuid.uuid4()), "nextVersion": 1}, now, now)
    context.registry.put(row)
    context.changed()
    return json_response(function_out(context, row))


async def list_functions(context: ApiContext, call: Call) -> Response:
    rows, token = page(call, context.registry.select(Kind.FUNCTION), lambda r: r.name)
    return json_response(listed("functions", [function_out(context, r) for r in rows], token))


async def get_function(context: ApiContext, call: Call) -> Response:
    row = context.registry.function(call.function_name)
    if call.qualifier == LATEST:
        return json_response(function_out(context, row))
    resolved = context.registry.resolve(row.name, call.qualifier)
    version = context.registry.get(Kind.VERSION, row.name, resolved.version_id)
    return json_response({**function_out(context, row), **version.body, **times(version)})


async def update_function(context: ApiContext, call: Call) -> Response:
    """Fields in the body replace, absent ones stay, null takes a field away."""
    given = {k: v for k, v in call.body.items() if k != "functionName"}
    while True:
        old = context.registry.function(call.function_name)
        spec = await _checked_function(context, old.name, without_nulls({**old.body, **given}))
        if context.registry.function(call.function_name) == old:  # nobody has changed it meanwhile
            break
    row = Row(Kind.FUNCTION, "", old.name, spec, old.meta, old.created_ns, context.now_ns())
    context.registry.put(row)
    context.changed()
    return json_response(function_out(context, row))


async def delete_function(context: ApiContext, call: Call) -> Response:
    row = context.registry.function(call.function_name)
    pools = [p.name for p in context.registry.select(Kind.PROVISION, row.name)]
    if pools:
        raise HttpError(
            400,
            "ProvisionConfigExist",
            f"function '{row.name}' still has a provision config for {', '.join(pools)}; delete it first",
        )
    context.registry.delete_function(row.name)
    context.changed()
    return NO_CONTENT


# -- versions ----------------------------------------------------------------------------------------------


def version_out(row: Row) -> dict[str, Any]:
    return {"versionId": row.name, "description": row.meta["description"], **times(row)}


async def publish_version(context: ApiContext, call: Call) -> Response:
    function = context.registry.function(call.function_name)
    given = checked(FunctionVersion, {**call.body, "functionName": function.name})
    number = int(function.meta["nextVersion"])
    now = context.now_ns()
    version = Row(
        Kind.VERSION,
        function.name,
        str(number),
        dict(function.body),
        {"description": str(given.get("description", ""))},
        now,
        now,
    )
    counted = Row(
        Kind.FUNCTION,
        "",
        function.name,
        function.body,
        {**function.meta, "nextVersion": number + 1},
        function.created_ns,
        function.modified_ns,
    )
    context.registry.put(version, counted)
    return json_response(version_out(version))


async def list_versions(context: ApiContext, call: Call) -> Response:
    """Newest first unless direction is FORWARD; nextToken is the version to go on from."""
    context.registry.function(call.function_name)
    direction = call.query.get("direction") or "BACKWARD"
    if direction not in ("FORWARD", "BACKWARD"):
        raise invalid("direction: must be FORWARD or BACKWARD")
    rows = sorted(
        context.registry.select(Kind.VERSION, call.function_name),
        key=lambda r: int(r.name),
        reverse=direction == "BACKWARD",
    )
    start = call.query.get("nextToken", "")
    if start and not start.isdigit():
        raise invalid("nextToken: not a token of this host")
    if start:
        sign = -1 if direction == "BACKWARD" else 1
        rows = [r for r in rows if sign * int(r.name) >= sign * int(start)]
    limit = _version_limit(call)
    token = rows[limit].name if len(rows) > limit else None
    answer = listed("versions", [version_out(r) for r in rows[:limit]], token)
    return json_response({**answer, "direction": direction})


def _version_limit(call: Call) -> int:
    text = call.query.get("limit") or "20"
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise invalid(f"limit: must be 1 to 100, not {text!r}")
    return int(text)


async def delete_version(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    version = context.registry.get(Kind.VERSION, call.function_name, call.names["version"])
    users = [
        a.name
        for a in context.registry.select(Kind.ALIAS, call.function_name)
        if version.name in (a.body["versionId"], *(a.body.get("additionalVersionWeight") or ()))
    ]
    if users:
        raise HttpError(
            409,
            "VersionInUse",
            f"version {version.name} of '{call.function_name}' is what alias {', '.join(users)} points at; "
            "move the alias away from it first",
        )
    context.registry.delete(version.key)
    return NO_CONTENT


# -- aliases -----------------------------------------------------------------------------------------------


def alias_out(row: Row) -> dict[str, Any]:
    return {**row.body, "aliasName": row.name, **times(row)}


def _checked_alias(
    context: ApiContext, function_name: str, name: str, wire: Mapping[str, Any]
) -> dict[str, Any]:
    body = checked(Alias, {**wire, "aliasName": name, "functionName": function_name})
    for version in (body["versionId"], *(body.get("additionalVersionWeight") or ())):
        context.registry.get(Kind.VERSION, function_name, version)
    excess = context.registry.over_limit(Row(Kind.ALIAS, function_name, name, body, {}, 0, 0))
    if excess:
        raise invalid(f"additionalVersionWeight: each version has an instance of its own, and {excess}")
    return body


async def create_alias(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    name = call.body.get("aliasName") or ""
    body = _checked_alias(context, call.function_name, name, call.body)
    if context.registry.find(Kind.ALIAS, call.function_name, name) is not None:
        raise HttpError(409, "AliasAlreadyExists", f"alias '{name}' of '{call.function_name}' already exists")
    now = context.now_ns()
    row = Row(Kind.ALIAS, call.function_name, name, body, {}, now, now)
    context.registry.put(row)
    context.changed()
    return json_response(alias_out(row))


async def list_aliases(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    rows, token = page(call, context.registry.select(Kind.ALIAS, call.function_name), lambda r: r.name)
    return json_response(listed("aliases", [alias_out(r) for r in rows], token))


async def get_alias(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    return json_response(alias_out(context.registry.get(Kind.ALIAS, call.function_name, call.names["alias"])))


async def update_alias(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    old = context.registry.get(Kind.ALIAS, call.function_name, call.names["alias"])
    given = {k: v for k, v in call.body.items() if k != "aliasName"}
    body = _checked_alias(context, call.function_name, old.name, {**old.body, **given})
    row = Row(Kind.ALIAS, old.parent, old.name, body, {}, old.created_ns, context.now_ns())
    context.registry.put(row)
    context.changed()
    return json_response(alias_out(row))


async def delete_alias(context: ApiContext, call: Call) -> Response:
    context.registry.function(call.function_name)
    row = context.registry.get(Kind.ALIAS, call.function_name, call.names["alias"])
    if context.registry.find(Kind.PROVISION, row.parent, row.name) is not None:
        raise HttpError(
            400,
            "ProvisionConfigExist",
            f"alias '{row.name}' of function '{row.parent}' still has a provision config; delete it first",
        )
    context.registry.delete(row.key)
    context.changed()
    return NO_CONTENT


def listed(name: str, items: list[dict[str, Any]], token: str | None) -> dict[str, Any]:
    return {name: items, "nextToken": token} if token else {name: items}
