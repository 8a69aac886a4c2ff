"""The Python classes of provider "tickover": one Pulumi resource class per FC object.

Owns: the classes a program uses and the shape of their arguments. Promises: arguments in snake_case go to
the engine under FC's own camelCase names, nested values unchanged (user keys such as those of
environment_variables are never renamed); outputs are attributes in snake_case. Never: validates (Check
does) or calls FC. The pydantic models of `tickover.fc` are the single source; a test holds both together.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Required, TypedDict, TypeVar, Unpack, cast, overload

import pulumi

from tickover.provider.names import camel

T = TypeVar("T")
Nested = Mapping[str, Any] | Any  # camelCase API keys; members may be pulumi outputs, or a dict-like object
Items = Sequence[Any]


class OutputProperty(Generic[T]):
    """A snake_case attribute that reads the output of the same camelCase name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.wire_name = camel(name)

    @overload
    def __get__(self, instance: None, owner: type) -> OutputProperty[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> pulumi.Output[T]: ...
    def __get__(self, instance: object | None, owner: type) -> OutputProperty[T] | pulumi.Output[T]:
        if instance is None:
            return self
        return cast("pulumi.Output[T]", instance.__dict__[self.wire_name])


class FcResource(pulumi.CustomResource):
    """What all classes share: the type token and the two name forms."""

    token: ClassVar[str]

    def __init__(
        self, resource_name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None
    ) -> None:
        known = output_names(type(self))
        unknown = sorted(set(args) - set(known))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no argument {', '.join(unknown)}")
        props = {camel(name): args.get(name) for name in known}
        super().__init__(self.token, resource_name, props, _with_wire_names(opts))


def output_names(cls: type) -> tuple[str, ...]:
    """The snake_case names of the output attributes of a resource class, sorted."""
    return tuple(
        sorted(n for base in cls.__mro__ for n, v in vars(base).items() if isinstance(v, OutputProperty))
    )


def _with_wire_names(opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions | None:
    """Options whose property paths may be written in snake_case, in the names that the engine knows."""
    if opts is None:
        return None
    named = copy.copy(opts)
    for option in ("ignore_changes", "replace_on_changes", "additional_secret_outputs"):
        paths = getattr(named, option)
        if paths:
            setattr(named, option, [camel(path) for path in paths])
    return named


class FunctionArgs(TypedDict, total=False):
    """FC's function; see `tickover.fc.function.Function` for limits and defaults."""

    function_name: Required[pulumi.Input[str]]
    runtime: Required[pulumi.Input[str]]
    handler: Required[pulumi.Input[str]]
    description: pulumi.Input[str]
    cpu: pulumi.Input[float]
    memory_size: pulumi.Input[int]
    disk_size: pulumi.Input[int]
    gpu_config: pulumi.Input[Nested]
    timeout: pulumi.Input[int]
    instance_concurrency: pulumi.Input[int]
    idle_timeout: pulumi.Input[int]
    custom_container_config: pulumi.Input[Nested]
    nas_config: pulumi.Input[Nested]
    oss_mount_config: pulumi.Input[Nested]
    polar_fs_config: pulumi.Input[Nested]
    juice_fs_config: pulumi.Input[Nested]
    vpc_config: pulumi.Input[Nested]
    environment_variables: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    role: pulumi.Input[str]
    internet_access: pulumi.Input[bool]
    layers: pulumi.Input[Items]
    tags: pulumi.Input[Items]
    resource_group_id: pulumi.Input[str]
    custom_dns: pulumi.Input[Nested]
    tracing_config: pulumi.Input[Nested]
    instance_lifecycle_config: pulumi.Input[Nested]
    log_config: pulumi.Input[Nested]
    session_affinity: pulumi.Input[str]
    session_affinity_config: pulumi.Input[str]
    instance_isolation_mode: pulumi.Input[str]
    disable_ondemand: pulumi.Input[bool]
    enable_long_living: pulumi.Input[bool]
    disable_inject_credentials: pulumi.Input[str]


class Function(FcResource):
    """A function: image, command, spec. Replaced when its name changes."""

    token = "tickover:fc:Function"
    function_name = OutputProperty[str]()
    runtime = OutputProperty[str]()
    handler = OutputProperty[str]()
    description = OutputProperty[str]()
    cpu = OutputProperty[float]()
    memory_size = OutputProperty[int]()
    disk_size = OutputProperty[int]()
    gpu_config = OutputProperty[Any]()
    timeout = OutputProperty[int]()
    instance_concurrency = OutputProperty[int]()
    idle_timeout = OutputProperty[int]()
    custom_container_config = OutputProperty[Any]()
    nas_config = OutputProperty[Any]()
    oss_mount_config = OutputProperty[Any]()
    polar_fs_config = OutputProperty[Any]()
    juice_fs_config = OutputProperty[Any]()
    vpc_config = OutputProperty[Any]()
    environment_variables = OutputProperty[Mapping[str, str]]()
    role = OutputProperty[str]()
    internet_access = OutputProperty[bool]()
    layers = OutputProperty[Items]()
    tags = OutputProperty[Items]()
    resource_group_id = OutputProperty[str]()
    custom_dns = OutputProperty[Any]()
    tracing_config = OutputProperty[Any]()
    instance_lifecycle_config = OutputProperty[Any]()
    log_config = OutputProperty[Any]()
    session_affinity = OutputProperty[str]()
    session_affinity_config = OutputProperty[str]()
    instance_isolation_mode = OutputProperty[str]()
    disable_ondemand = OutputProperty[bool]()
    enable_long_living = OutputProperty[bool]()
    disable_inject_credentials = OutputProperty[str]()
    function_arn = OutputProperty[str]()
    function_id = OutputProperty[str]()
    state = OutputProperty[str]()
    last_update_status = OutputProperty[str]()
    last_modified_time = OutputProperty[str]()

    def __init__(
        self,
        resource_name: str,
        opts: pulumi.ResourceOptions | None = None,
        **args: Unpack[FunctionArgs],
    ) -> None:
        super().__init__(resource_name, args, opts)


class FunctionVersionArgs(TypedDict, total=False):
    """A snapshot of a function as it is now. A description that names the content (a digest of the
    function's inputs) is what makes a change of the function publish a new version."""

    function_name: Required[pulumi.Input[str]]
    description: pulumi.Input[str]


class FunctionVersion(FcResource):
    """A published, immutable version. Replaced when anything changes."""

    token = "tickover:fc:FunctionVersion"
    function_name = OutputProperty[str]()
    description = OutputProperty[str]()
    version_id = OutputProperty[str]()
    created_time = OutputProperty[str]()

    def __init__(
        self,
        resource_name: str,
        opts: pulumi.ResourceOptions | None = None,
        **args: Unpack[FunctionVersionArgs],
    ) -> None:
        super().__init__(resource_name, args, opts)


class AliasArgs(TypedDict, total=False):
    """A name for a version, with optional canary weights by version id."""

    function_name: Required[pulumi.Input[str]]
    alias_name: Required[pulumi.Input[str]]
    version_id: Required[pulumi.Input[str]]
    additional_version_weight: pulumi.Input[Mapping[str, pulumi.Input[float]]]
    description: pulumi.Input[str]


class Alias(FcResource):
    """An alias. Moving it starts the new version before the old one stops."""

    token = "tickover:fc:Alias"
    function_name = OutputProperty[str]()
    alias_name = OutputProperty[str]()
    version_id = OutputProperty[str]()
    additional_version_weight = OutputProperty[Mapping[str, float]]()
    description = OutputProperty[str]()
    last_modified_time = OutputProperty[str]()

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[AliasArgs]
    ) -> None:
        super().__init__(resource_name, args, opts)


class ProvisionConfigArgs(TypedDict, total=False):
    """Reserved instances of an alias (or LATEST), with timetable and idle switch."""

    function_name: Required[pulumi.Input[str]]
    qualifier: Required[pulumi.Input[str]]
    default_target: pulumi.Input[int]
    always_allocate_cpu: pulumi.Input[bool]
    always_allocate_gpu: pulumi.Input[bool]
    scheduled_actions: pulumi.Input[Items]
    target_tracking_policies: pulumi.Input[Items]


class ProvisionConfig(FcResource):
    """A reserved pool. Done when current == target."""

    token = "tickover:fc:ProvisionConfig"
    function_name = OutputProperty[str]()
    qualifier = OutputProperty[str]()
    default_target = OutputProperty[int]()
    always_allocate_cpu = OutputProperty[bool]()
    always_allocate_gpu = OutputProperty[bool]()
    scheduled_actions = OutputProperty[Items]()
    target_tracking_policies = OutputProperty[Items]()
    target = OutputProperty[int]()
    current = OutputProperty[int]()
    current_error = OutputProperty[str]()
    function_arn = OutputProperty[str]()

    def __init__(
        self,
        resource_name: str,
        opts: pulumi.ResourceOptions | None = None,
        **args: Unpack[ProvisionConfigArgs],
    ) -> None:
        super().__init__(resource_name, args, opts)


class ConcurrencyConfigArgs(TypedDict, total=False):
    """The upper bound of instances of a function."""

    function_name: Required[pulumi.Input[str]]
    reserved_concurrency: Required[pulumi.Input[int]]


class ConcurrencyConfig(FcResource):
    """An instance limit per function."""

    token = "tickover:fc:ConcurrencyConfig"
    function_name = OutputProperty[str]()
    reserved_concurrency = OutputProperty[int]()
    function_arn = OutputProperty[str]()

    def __init__(
        self,
        resource_name: str,
        opts: pulumi.ResourceOptions | None = None,
        **args: Unpack[ConcurrencyConfigArgs],
    ) -> None:
        super().__init__(resource_name, args, opts)


class TriggerArgs(TypedDict, total=False):
    """A trigger; trigger_config is a JSON string, as in the API."""

    function_name: Required[pulumi.Input[str]]
    trigger_name: Required[pulumi.Input[str]]
    trigger_type: Required[pulumi.Input[str]]
    trigger_config: Required[pulumi.Input[str]]
    qualifier: pulumi.Input[str]
    invocation_role: pulumi.Input[str]
    source_arn: pulumi.Input[str]
    description: pulumi.Input[str]


class Trigger(FcResource):
    """A trigger of a function, its URL in http_trigger["urlInternet"]."""

    token = "tickover:fc:Trigger"
    function_name = OutputProperty[str]()
    trigger_name = OutputProperty[str]()
    trigger_type = OutputProperty[str]()
    trigger_config = OutputProperty[str]()
    qualifier = OutputProperty[str]()
    invocation_role = OutputProperty[str]()
    source_arn = OutputProperty[str]()
    description = OutputProperty[str]()
    http_trigger = OutputProperty[Mapping[str, str]]()
    trigger_id = OutputProperty[str]()
    last_modified_time = OutputProperty[str]()

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[TriggerArgs]
    ) -> None:
        super().__init__(resource_name, args, opts)


class CustomDomainArgs(TypedDict, total=False):
    """A domain name with its routes, certificate and authentication."""

    domain_name: Required[pulumi.Input[str]]
    protocol: pulumi.Input[str]
    route_config: pulumi.Input[Nested]
    cert_config: pulumi.Input[Nested]
    tls_config: pulumi.Input[Nested]
    auth_config: pulumi.Input[Nested]
    cors_config: pulumi.Input[Nested]
    waf_config: pulumi.Input[Nested]


class CustomDomain(FcResource):
    """A custom domain in front of functions."""

    token = "tickover:fc:CustomDomain"
    domain_name = OutputProperty[str]()
    protocol = OutputProperty[str]()
    route_config = OutputProperty[Any]()
    cert_config = OutputProperty[Any]()
    tls_config = OutputProperty[Any]()
    auth_config = OutputProperty[Any]()
    cors_config = OutputProperty[Any]()
    waf_config = OutputProperty[Any]()
    account_id = OutputProperty[str]()
    last_modified_time = OutputProperty[str]()

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[CustomDomainArgs]
    ) -> None:
        super().__init__(resource_name, args, opts)


class ProviderArgs(TypedDict, total=False):
    """Where to send calls. target: host (default) or cloud; the rest is found by itself if left out."""

    target: pulumi.Input[str]
    endpoint: pulumi.Input[str]
    access_key_id: pulumi.Input[str]
    access_key_secret: pulumi.Input[str]
    region: pulumi.Input[str]
    account_id: pulumi.Input[str]


class Provider(pulumi.ProviderResource):
    """An explicit provider of package "tickover"."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[ProviderArgs]
    ) -> None:
        props: dict[str, Any] = {camel(name): value for name, value in args.items()}
        if props.get("accessKeySecret") is not None:
            props["accessKeySecret"] = pulumi.Output.secret(props["accessKeySecret"])
        super().__init__("tickover", resource_name, props, opts)


CLASSES: tuple[type[FcResource], ...] = (
    Function,
    FunctionVersion,
    Alias,
    ProvisionConfig,
    ConcurrencyConfig,
    Trigger,
    CustomDomain,
)
