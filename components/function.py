"""GpuFunction: a function, its published versions, the alias that callers hang on, and its URL.

Owns: Function, FunctionVersion, Alias ``live`` and the http Trigger of one model server. Promises: a change
of the function publishes a version and moves `live` to it; older versions stay for a rollback. Never:
reserves instances (see `pool`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict

import pulumi

from tickover.errors import ConfigError
from tickover.host.idle_settings import PREFIX_VARIABLE
from tickover.provider.resources import Alias, ConcurrencyConfig, Function, FunctionVersion, Trigger

from .checks import at_most_one, needs, required
from .idle import IdleArgs, check_idle
from .image import RegistryImage
from .storage import NasMount

LIVE: Final = "live"
AuthType = Literal["anonymous", "bearer", "function"]

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_MB_PER_GB: Final = 1024
_DIGEST_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class GpuArgs:
    """type: from the catalogue, e.g. ``fc.gpu.ada.1``; memory_gb: of all cards together."""

    type: str
    memory_gb: int


class AliasWeights(TypedDict, total=False):
    """The argument of an alias that gives a second version a share."""

    additional_version_weight: pulumi.Output[dict[str, float]]


@dataclass(frozen=True, slots=True)
class AuthArgs:
    """Who may call. bearer: `token` is what callers send; function: signed calls only."""

    type: AuthType = "anonymous"
    token: pulumi.Input[str] | None = None


@dataclass(frozen=True, slots=True)
class GpuFunctionArgs:
    """What runs and how big it is.

    entrypoint, command: the argv; ``${port}`` in it is replaced where the host picks the port.
    version: pins `live` to a published version (a rollback); empty: the newest. canary: the share of the
    requests, 0 to 1, that the newest version gets beside the pinned one.
    timeout_seconds: how long one request may last. instance_concurrency: requests at once per instance.
    on_demand: True lets the platform start instances beyond the reserved ones.
    max_instances: upper bound of instances; None: the account's. idle: what a host does with idle instances.
    prefix_affinity: a host gives prompts that begin alike to the same instance, for its prefix cache.
    health_check_config, instance_lifecycle_config: as FC has them, in its own property names; httpGetUrl is
    health_path unless given there.
    """

    image: RegistryImage
    cpu: float
    memory_gb: float
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    port: int = 8000
    health_path: str = "/health"
    health_check_config: Mapping[str, Any] = field(default_factory=dict)
    instance_lifecycle_config: Mapping[str, Any] = field(default_factory=dict)
    gpu: GpuArgs | None = None
    storage: NasMount | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    idle: IdleArgs | None = None
    prefix_affinity: bool = False
    disk_mb: int = 512
    timeout_seconds: int = 86_400
    instance_concurrency: int = 1
    on_demand: bool = False
    max_instances: int | None = None
    auth: AuthArgs = field(default_factory=AuthArgs)
    function_name: str = ""
    description: str = ""
    version: str = ""
    canary: float = 0.0


class GpuFunction(pulumi.ComponentResource):
    """A model server as a function.

    function_name, version_id, alias_name, url: what others refer to.
    """

    def __init__(self, name: str, args: GpuFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _check(name, args)
        super().__init__("tickover:index:GpuFunction", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        inputs = function_inputs(name, args)
        self.function = Function(name, child, **inputs)
        self.version = FunctionVersion(
            name,
            # A version that is no longer declared stays published: it is what a rollback goes back to.
            pulumi.ResourceOptions(parent=self, retain_on_delete=True),
            function_name=self.function.function_name,
            description=pulumi.Output.from_input(inputs).apply(_content_digest),
        )
        self.alias = Alias(
            f"{name}-{LIVE}",
            child,
            function_name=self.function.function_name,
            alias_name=LIVE,
            version_id=args.version or self.version.version_id,
            **_weights(args, self.version.version_id),
        )
        self.trigger = Trigger(
            f"{name}-http",
            child,
            function_name=self.function.function_name,
            trigger_name="http",
            trigger_type="http",
            qualifier=self.alias.alias_name,
            trigger_config=_trigger_config(args.auth),
        )
        if args.max_instances is not None:
            ConcurrencyConfig(
                name,
                child,
                function_name=self.function.function_name,
                reserved_concurrency=args.max_instances,
            )
        self.function_name: pulumi.Output[str] = self.function.function_name
        self.alias_name: pulumi.Output[str] = self.alias.alias_name
        self.version_id: pulumi.Output[str] = self.alias.version_id
        self.url: pulumi.Output[str] = self.trigger.http_trigger.apply(_public_url)
        self.register_outputs(
            {"functionName": self.function_name, "versionId": self.version_id, "url": self.url}
        )


def default_function_name(name: str) -> str:
    """``<name>-<stack>``: one function per service and stack."""
    return f"{name}-{pulumi.get_stack()}"


def function_inputs(name: str, args: GpuFunctionArgs) -> dict[str, Any]:
    """The arguments of `Function` for a model server."""
    path = {"httpGetUrl": args.health_path} if args.health_path else {}
    container: dict[str, Any] = {
        "image": args.image.reference,
        "port": args.port,
        "entrypoint": list(args.entrypoint) or None,
        "command": list(args.command) or None,
        "healthCheckConfig": {**path, **args.health_check_config} or None,
    }
    gpu = args.gpu and {"gpuType": args.gpu.type, "gpuMemorySize": args.gpu.memory_gb * _MB_PER_GB}
    inputs: dict[str, Any] = {
        "function_name": args.function_name or default_function_name(name),
        "runtime": "custom-container",
        "handler": "not-used",  # FC asks for one and never calls it for a container
        "description": args.description or None,
        "cpu": args.cpu,
        "memory_size": round(args.memory_gb * _MB_PER_GB),
        "disk_size": args.disk_mb,
        "gpu_config": gpu,
        "timeout": args.timeout_seconds,
        "instance_concurrency": args.instance_concurrency,
        "disable_ondemand": not args.on_demand,
        "custom_container_config": {k: v for k, v in container.items() if v is not None},
        "nas_config": args.storage.wire() if args.storage else None,
        "vpc_config": args.storage.network_wire() if args.storage else None,
        "environment_variables": {**args.environment, **_host_variables(args)} or None,
        "instance_lifecycle_config": dict(args.instance_lifecycle_config) or None,
    }
    return {key: value for key, value in inputs.items() if value is not None}


def _host_variables(args: GpuFunctionArgs) -> Mapping[str, str]:
    """What is said to a host, for which FC has no fields."""
    prefixes = {PREFIX_VARIABLE: "on"} if args.prefix_affinity else {}
    return {**(args.idle or IdleArgs()).variables(), **prefixes}


def _check(name: str, args: GpuFunctionArgs) -> None:
    required(name, cpu=args.cpu, memory_gb=args.memory_gb, port=args.port)
    if args.image.is_process:
        required(name, command=args.entrypoint + args.command)
    needs(name, ("auth.type bearer", args.auth.type == "bearer"), ("auth.token", args.auth.token is not None))
    at_most_one(
        name,
        **{
            f"auth.type {args.auth.type}": args.auth.type != "bearer",
            "auth.token": args.auth.token is not None,
        },
    )
    check_idle(name, args.environment, args.idle or IdleArgs())
    at_most_one(
        name,
        prefix_affinity=args.prefix_affinity,
        **{f"environment.{PREFIX_VARIABLE}": PREFIX_VARIABLE in args.environment},
    )
    if args.version and not args.version.isdigit():
        raise ConfigError(
            "bad-version",
            "Version is not valid",
            f"{name}: `version` must be the number of a published version, not {args.version!r}.",
            address=name,
        )
    if args.canary and not args.version:
        raise ConfigError(
            "bad-version",
            "Canary without a version",
            f"{name}: `canary` is the share of the newest version beside a pinned one: `version` has to say "
            "which published version gets the other requests.",
            address=name,
        )


def _weights(args: GpuFunctionArgs, newest: pulumi.Output[str]) -> AliasWeights:
    """The newest version's share; none where it is the pinned one already."""
    if not args.canary:
        return {}
    share = newest.apply(lambda number: {} if number == args.version else {number: args.canary})
    return {"additional_version_weight": share}


def _content_digest(inputs: Mapping[str, Any]) -> str:
    """Names the content of a function, so that a version is published when, and only when, it changes."""
    content = {k: v for k, v in inputs.items() if k not in {"function_name", "description"}}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"content {hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]}"


def _trigger_config(auth: AuthArgs) -> pulumi.Input[str]:
    """FC's triggerConfig, a JSON text; the whole text is secret if it holds a token."""
    if auth.token is None:
        return _trigger_json(auth.type, None)
    return pulumi.Output.secret(auth.token).apply(lambda token: _trigger_json(auth.type, token))


def _trigger_json(auth_type: str, token: str | None) -> str:
    config: dict[str, Any] = {
        "authType": auth_type,
        "methods": list(_METHODS),
        "disableURLInternet": False,
    }
    if token is not None:
        tokens = {"tokens": [{"name": "default", "token": token}]}
        config["authConfig"] = json.dumps(tokens, sort_keys=True)
    return json.dumps(config, sort_keys=True)


def _public_url(http_trigger: Mapping[str, str] | None) -> str:
    return (http_trigger or {}).get("urlInternet", "")
