"""A RegisterResource request as a draft, and a draft as a goal.

Owns: what a registration inherits from its parent, and the reading of options. Promises: options are
inherited here and nowhere else; pure. Never: looks at prior state or asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pulumi.runtime.proto import alias_pb2, resource_pb2

from tickover.engine import packageinputs, wire
from tickover.engine.goal import Alias, Goal, package_of
from tickover.engine.hooks import bound
from tickover.engine.packages import PackageSpec
from tickover.engine.state import CustomTimeouts
from tickover.engine.transforms import Draft
from tickover.engine.urn import is_provider_type, make_urn, parse_urn, split_reference
from tickover.errors import ConfigError, Exit, TickoverError

if TYPE_CHECKING:
    from tickover.engine.values import PropertyMap

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def draft_of(
    request: resource_pb2.RegisterResourceRequest,
    parent: Goal | None,
    component_providers: Mapping[str, Mapping[str, str]],
) -> Draft:
    """What request asks for, with what it inherits. component_providers: by component, by package."""
    _require_type(request)
    dependencies = tuple(sorted(set(request.dependencies)))
    by_property = {k: tuple(sorted(set(v.urns))) for k, v in sorted(request.propertyDependencies.items())}
    if not by_property and dependencies and not request.remote:
        by_property = dict.fromkeys(request.object.fields, dependencies)
    return Draft(
        type=request.type,
        name=request.name,
        custom=request.custom,
        parent=request.parent,
        properties=request.object,
        options=_options(request, parent, component_providers),
        property_dependencies=by_property,
    )


def _options(
    request: resource_pb2.RegisterResourceRequest,
    parent: Goal | None,
    component_providers: Mapping[str, Mapping[str, str]],
) -> resource_pb2.TransformResourceOptions:
    options = resource_pb2.TransformResourceOptions(
        depends_on=sorted(set(request.dependencies)),
        ignore_changes=request.ignoreChanges,
        replace_on_changes=request.replaceOnChanges,
        version=request.version,
        aliases=[*(alias_pb2.Alias(urn=urn) for urn in request.aliasURNs), *request.aliases],
        provider=_provider(request, parent, component_providers),
        plugin_download_url=request.pluginDownloadURL,
        deleted_with=request.deletedWith or (parent.deleted_with if parent else ""),
        additional_secret_outputs=request.additionalSecretOutputs,
        providers=dict(request.providers),
        plugin_checksums=dict(request.pluginChecksums),
        hide_diff=request.hideDiffs,
        replace_with=request.replace_with,
    )
    setattr(options, "import", request.importId)
    if request.HasField("customTimeouts"):
        options.custom_timeouts.CopyFrom(request.customTimeouts)
    if request.HasField("hooks"):
        options.hooks.CopyFrom(request.hooks)
    if request.HasField("replacement_trigger"):
        options.replacement_trigger.CopyFrom(request.replacement_trigger)
    if request.deleteBeforeReplace or request.deleteBeforeReplaceDefined:
        options.delete_before_replace = request.deleteBeforeReplace
    protect = request.protect if request.HasField("protect") else parent.protect if parent else None
    if protect is not None:
        options.protect = protect
    retain = parent.retain_on_delete if parent else None
    retain = request.retainOnDelete if request.HasField("retainOnDelete") else retain
    if retain is not None:
        options.retain_on_delete = retain
    return options


def _provider(
    request: resource_pb2.RegisterResourceRequest,
    parent: Goal | None,
    component_providers: Mapping[str, Mapping[str, str]],
) -> str:
    """ "urn::id" of the provider that the request names or inherits; empty for the default one."""
    if is_provider_type(request.type):
        return ""
    package = package_of(request.type)
    inherited = parent.provider if parent is not None else ""
    if request.provider or not (request.custom or request.remote):
        return request.provider
    if inherited and package_of(parse_urn(split_reference(inherited)[0]).type) == package:
        return inherited
    return request.providers.get(package, "") or component_providers.get(request.parent, {}).get(package, "")


def _require_type(request: resource_pb2.RegisterResourceRequest) -> None:
    if (request.custom or request.remote) and request.type.count(":") < 2:
        raise ConfigError(
            "bad-type",
            "Not a type token",
            f"The type {request.type!r} is not of the form package:module:Name.",
            request.name,
        )
    if request.envVarMappings and not is_provider_type(request.type):
        raise ConfigError(
            "bad-option",
            "Option does not fit",
            "env_var_mappings is for provider resources only.",
            request.name,
        )


def component_providers(draft: Draft, known: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """Providers that a component hands to its children: its own, then its parent's."""
    return {**known.get(draft.parent, {}), **draft.options.providers}


def goal_of(
    draft: Draft,
    request: resource_pb2.RegisterResourceRequest,
    stack: str,
    project: str,
    spec: PackageSpec | None,
) -> Goal:
    """The goal of a draft whose provider is known. spec: the package that the request refers to."""
    options = draft.options
    inputs = wire.decode(draft.properties)
    by_property = {key: draft.property_dependencies.get(key, ()) for key in sorted(inputs)}
    is_provider = is_provider_type(draft.type)
    if is_provider:
        inputs = _provider_inputs(draft, request, inputs, spec)
    try:
        timeouts = _timeouts(options.custom_timeouts)
    except ValueError as error:
        raise ConfigError("bad-timeout", "Timeout is not valid", str(error), draft.name) from error
    has_own = options.HasField("delete_before_replace")
    return Goal(
        urn=make_urn(stack, project, draft.parent, draft.type, draft.name),
        type=draft.type,
        name=draft.name,
        custom=draft.custom,
        parent=draft.parent,
        inputs=inputs,
        provider=options.provider if draft.custom and not is_provider else "",
        dependencies=tuple(sorted(set(options.depends_on))),
        property_dependencies=by_property,
        protect=options.protect if options.HasField("protect") else None,
        ignore_changes=tuple(options.ignore_changes),
        delete_before_replace=options.delete_before_replace if has_own else None,
        additional_secret_outputs=tuple(options.additional_secret_outputs),
        aliases=tuple(_alias(a) for a in options.aliases),
        custom_timeouts=timeouts,
        import_id=getattr(options, "import"),
        retain_on_delete=options.retain_on_delete if options.HasField("retain_on_delete") else None,
        deleted_with=options.deleted_with,
        replace_with=tuple(options.replace_with),
        replacement_trigger=wire.decode_value(options.replacement_trigger)
        if options.HasField("replacement_trigger")
        else None,
        replace_on_changes=tuple(options.replace_on_changes),
        hide_diff=tuple(options.hide_diff),
        hooks=bound(options.hooks),
        source_position=position_of(request.sourcePosition),
    )


def _provider_inputs(
    draft: Draft,
    request: resource_pb2.RegisterResourceRequest,
    inputs: PropertyMap,
    spec: PackageSpec | None,
) -> PropertyMap:
    options = draft.options
    own = PackageSpec(package_of(draft.type), options.version, options.plugin_download_url)
    inputs = packageinputs.with_spec(inputs, spec or own)
    return packageinputs.with_environment(inputs, dict(request.envVarMappings))


def position_of(position: Any) -> str:
    """A SourcePosition as Pulumi writes it: uri#line,column."""
    if not position.uri:
        return ""
    return f"{position.uri}#{position.line}" + (f",{position.column}" if position.column else "")


def _timeouts(
    given: resource_pb2.RegisterResourceRequest.CustomTimeouts,
) -> CustomTimeouts | None:
    if not (given.create or given.update or given.delete or given.read):
        return None
    return CustomTimeouts(
        seconds(given.create), seconds(given.update), seconds(given.delete), seconds(given.read)
    )


def seconds(text: str) -> float:
    """Seconds of a Go duration such as ``1h5m`` or ``90s``; 0 where nothing is given. Raises ValueError."""
    total, rest = 0.0, text.strip()
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("hmsunµ"))
        number, unit = rest[:digits], rest[digits : digits + letters]
        if not digits or unit not in _UNITS:
            raise ValueError(f"{text!r} is not a duration such as 5m or 1h30s.")
        total += float(number) * _UNITS[unit]
        rest = rest[digits + letters :]
    return total


def _alias(alias: alias_pb2.Alias) -> Alias:
    if alias.WhichOneof("alias") == "urn":
        return Alias(urn=alias.urn)
    spec = alias.spec
    return Alias(
        name=spec.name,
        type=spec.type,
        stack=spec.stack,
        project=spec.project,
        parent=spec.parentUrn,
        no_parent=spec.noParent,
    )


def unknown_parent(name: str, parent: str) -> TickoverError:
    return TickoverError(
        "unknown-parent",
        "Parent is not registered",
        f"The parent {parent} was not declared before its child.",
        address=name,
        exit_code=Exit.CONFIGURATION,
    )
