"""The stack config: what `stacks/Pulumi.<stack>.yaml` may say, and what it means.

Owns: the pydantic models of `tickover:services` and its neighbours, every default of a field. Promises:
all mistakes of all services in one error, with key paths (see `configerrors`). Never: registers a resource.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import pulumi
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from tickover.fc.function import HealthCheckConfig
from tickover.fc.function import InstanceLifecycleConfig as _Lifecycle
from tickover.fc.gpu import CATALOGUE
from tickover.fc.validate import findings
from tickover.host.idle_settings import PREFIX_VARIABLE, SECONDS, idle_problems

from .configerrors import as_config_error, config_error, suggest
from .domain import is_domain_name
from .function import AuthArgs, GpuArgs
from .idle import VARIABLES, IdleArgs, Rung
from .image import RegistryImageArgs, named_reference
from .presets import PRESETS
from .schedule import ScheduleArgs, TimetableEntry, entry_problems
from .service import ModelArgs, PoolArgs, VllmServiceArgs
from .storage import NasMountArgs, NetworkArgs

NAMESPACE: Final = "tickover"
_SLEEPING: Final = (None, "sleep", "checkpoint")  # None: the host's own, which is the deepest
_SERVICE_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_TOKENS: Final = "tokens"
# Stands in for a token that a preview can do without; `up` refuses before it could be used.
_PLACEHOLDER: Final = "set-before-up"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _short_form(key: str) -> BeforeValidator:
    """Lets a bare text stand for a map with this one key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class ModelConfig(_Model):
    """``model: smollm2``, or ``model: {path: folder, served_name: name}``."""

    preset: str = ""
    path: str = ""
    served_name: str = ""

    @field_validator("preset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and value not in PRESETS:
            raise ValueError(f'"{value}" is no preset{suggest(value, PRESETS)}')
        return value

    def problem(self) -> str:
        """What is wrong with the combination, or empty."""
        if self.preset and (self.path or self.served_name):
            return "`preset` and `path` cannot both be given"
        if not self.preset and not (self.path and self.served_name):
            return "give a preset, or `path` and `served_name` together"
        if self.path.startswith("/") or ".." in self.path.split("/"):
            return f'`path` is relative to the NAS folder and stays in it, unlike "{self.path}"'
        return ""

    def to_args(self) -> str | ModelArgs:
        return self.preset or ModelArgs(self.path, self.served_name)


class ImageConfig(_Model):
    """``image: registry/name:tag``, or ``image: {driver: process}`` for local processes without an image."""

    reference: str = ""
    driver: Literal["container", "process"] = "container"

    @field_validator("reference")
    @classmethod
    def _parses(cls, value: str) -> str:
        if value:
            try:
                named_reference(value)
            except ValueError as error:
                raise ValueError(f'"{value}" is not an image reference: {error}') from error
        return value

    def problem(self) -> str:
        """What is wrong with the combination, or empty."""
        if self.driver == "process" and self.reference:
            return "`driver: process` and `reference` cannot both be given"
        return "" if self.driver == "process" or self.reference else "`reference` is required"

    def to_args(self) -> RegistryImageArgs:
        return RegistryImageArgs(reference=self.reference, process=self.driver == "process")


class GpuConfig(_Model):
    """``gpu: none``, or a type. cards: default 1. memory_gb: of all cards, default all they have."""

    type: str
    cards: int = Field(1, ge=1, le=16)
    memory_gb: int | None = Field(None, ge=1)

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != "none" and value not in CATALOGUE:
            raise ValueError(f'"{value}" is not a GPU type{suggest(value, CATALOGUE)}')
        return value

    def problem(self) -> str:
        """What is wrong with the number of cards, or empty."""
        most = self.cards if self.type == "none" else CATALOGUE[self.type].max_cards
        return f"{self.type} comes with at most {most} cards, not {self.cards}" if self.cards > most else ""

    def to_args(self) -> GpuArgs | Literal["none"]:
        if self.type == "none":
            return "none"
        return GpuArgs(self.type, self.memory_gb or CATALOGUE[self.type].vram_gb * self.cards)


class NetworkConfig(_Model):
    """The VPC that the NAS is in; needed on the cloud."""

    vpc_id: str
    vswitch_ids: tuple[str, ...] = Field(min_length=1)
    security_group_id: str

    def to_args(self) -> NetworkArgs:
        return NetworkArgs(self.vpc_id, self.vswitch_ids, self.security_group_id)


class StorageConfig(_Model):
    """Where the models are. Default: folder models/ of the host's own NAS, seen at /mnt/models."""

    server: str = Field("local:/models", pattern=r"^[\w.-]+:/.*$")
    mount_dir: str = Field("/mnt/models", pattern=r"^/.+$")
    network: NetworkConfig | None = None

    def to_args(self) -> NasMountArgs:
        network = self.network.to_args() if self.network else None
        return NasMountArgs(self.server, self.mount_dir, network)


class ScheduleConfig(_Model):
    """From each firing of `cron` (or once, `at`) on, `instances` are reserved, within start and end.

    Times are local times of time_zone, UTC by default.
    """

    instances: int = Field(ge=0, le=10_000)
    cron: str = ""
    at: str = ""
    time_zone: str = ""
    start: str = ""
    end: str = ""
    name: str = ""

    def to_entry(self) -> TimetableEntry:
        return TimetableEntry(
            self.instances, self.cron, self.at, self.time_zone, self.start, self.end, self.name
        )


def _seconds(name: str) -> Any:
    """A field of seconds with the host's limits."""
    least, most = SECONDS[VARIABLES[name]]
    return Field(None, ge=least, le=most)


class IdleConfig(_Model):
    """``idle: true``, ``idle: false``, or a map, which means true and says what a host then does."""

    enabled: bool = True
    linger_seconds: float | None = _seconds("linger_seconds")
    deepest: Rung | None = None
    deep_after_seconds: float | None = _seconds("deep_after_seconds")
    wake_ahead_seconds: float | None = _seconds("wake_ahead_seconds")
    max_age_seconds: float | None = _seconds("max_age_seconds")
    sleep_level: Literal[1, 2] | None = None

    def to_args(self) -> IdleArgs:
        return IdleArgs(**self.model_dump(exclude={"enabled"}))


def _switch(value: Any) -> Any:
    if not isinstance(value, bool | Mapping | IdleConfig):
        shown = f'"{value}"' if isinstance(value, str) else value
        raise ValueError(f"must be true, false or a map, not {shown}")
    return {"enabled": value} if isinstance(value, bool) else value


class PoolConfig(_Model):
    """Reserved instances: 1 by default, billed as idle while nobody asks. reason: why not, if idle is off."""

    instances: int = Field(1, ge=0, le=10_000)
    idle: Annotated[IdleConfig, BeforeValidator(_switch)] = IdleConfig()
    reason: str = ""
    schedules: tuple[ScheduleConfig, ...] = ()

    def to_args(self) -> PoolArgs:
        entries = tuple(s.to_entry() for s in self.schedules)
        timetable = ScheduleArgs(entries, self.instances) if entries else None
        return PoolArgs(self.instances, self.idle.enabled, self.reason, timetable, self.idle.to_args())


class DomainConfig(_Model):
    """A host name of one's own, plain HTTP."""

    name: str

    @field_validator("name")
    @classmethod
    def _host_name(cls, value: str) -> str:
        if not is_domain_name(value):
            raise ValueError(f'"{value}" is not a host name such as chat.example.com')
        return value


class AuthConfig(_Model):
    """Who may call: anybody, holders of a bearer token, or signed calls only.

    token_env: the environment variable that holds the token if the config has none under tickover:tokens;
    default ``TICKOVER_TOKEN_<SERVICE>``.
    """

    type: Literal["anonymous", "bearer", "function"] = "anonymous"
    token_env: str = ""


class ServiceConfig(_Model):
    """One model service. Only `model` and `image` must be said; sizes come from the preset.

    health_check_config, instance_lifecycle_config: FC's objects, in its own property names.
    sleep_mode: by default where a host can use it: vLLM on a GPU whose instances may go idle that far.
    prefix_affinity: a host gives prompts that begin alike to the same instance.
    """

    model: Annotated[ModelConfig, _short_form("preset")]
    image: Annotated[ImageConfig, _short_form("reference")]
    gpu: Annotated[GpuConfig | None, _short_form("type")] = None
    cpu: float | None = Field(None, gt=0)
    memory_gb: float | None = Field(None, gt=0)
    disk_mb: int = 512
    port: int = Field(8000, ge=1, le=65_535)
    instance_concurrency: int = Field(16, ge=1, le=200)
    timeout_seconds: int = Field(86_400, ge=1, le=86_400)
    on_demand: bool = False
    max_instances: int | None = Field(None, ge=0)
    max_model_len: int | None = Field(None, ge=1)
    enforce_eager: bool = True
    sleep_mode: bool | None = None
    prefix_affinity: bool = False
    trust_remote_code: bool = True
    extra_args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    health_check_config: dict[str, Any] = Field(default_factory=dict)
    instance_lifecycle_config: dict[str, Any] = Field(default_factory=dict)
    storage: StorageConfig = StorageConfig()
    pool: PoolConfig = PoolConfig()
    domain: Annotated[DomainConfig | None, _short_form("name")] = None
    auth: Annotated[AuthConfig, _short_form("type")] = AuthConfig()
    function_name: str = Field("", pattern=r"^([A-Za-z_][\w-]{0,63})?$")
    version: str = Field("", pattern=r"^\d*$")
    canary: float = Field(0.0, ge=0, le=1)

    def to_args(self, auth: AuthArgs, target: str) -> VllmServiceArgs:
        """The arguments of the component."""
        same = (
            "cpu memory_gb disk_mb port instance_concurrency timeout_seconds on_demand max_instances "
            "max_model_len enforce_eager trust_remote_code extra_args command environment function_name "
            "version canary health_check_config instance_lifecycle_config prefix_affinity"
        )
        args = VllmServiceArgs(
            model=self.model.to_args(),
            image=self.image.to_args(),
            storage=self.storage.to_args(),
            gpu=self.gpu.to_args() if self.gpu else None,
            auth=auth,
            pool=self.pool.to_args(),
            domain=self.domain.name if self.domain else "",
            **{key: getattr(self, key) for key in same.split()},
        )
        may_sleep = target == "host" and self.pool.idle.enabled and self.pool.idle.deepest in _SLEEPING
        has_gpu = isinstance(args.gpu, GpuArgs) or (args.gpu is None and isinstance(args.model, str))
        is_useful = may_sleep and args.on_vllm and has_gpu and not self.command
        return replace(args, sleep_mode=is_useful if self.sleep_mode is None else self.sleep_mode)


class StackConfig(_Model):
    """Everything under ``tickover:``. region and account: of the cloud; endpoint: another API address."""

    target: Literal["host", "cloud"] = "host"
    region: str = ""
    account: str = ""
    endpoint: str = ""
    services: dict[str, ServiceConfig] = Field(default_factory=dict)


def parse(raw: Mapping[str, Any], stack: str) -> StackConfig:
    """The config in raw (keys without namespace). Raises ConfigError with every mistake."""
    try:
        config = StackConfig.model_validate(raw)
    except ValidationError as error:
        raise as_config_error(error, StackConfig, raw, NAMESPACE) from error
    mistakes = [(f"{NAMESPACE}:{path}", message) for path, message in _cross_checks(config, stack)]
    if mistakes:
        raise config_error(mistakes)
    return config


def load(config: pulumi.Config, stack: str) -> tuple[StackConfig, dict[str, VllmServiceArgs]]:
    """The stack's config, and the arguments of each of its services."""
    texts = {key: config.get(key) for key in ("target", "region", "account", "endpoint")}
    raw: dict[str, Any] = {key: value for key, value in texts.items() if value}
    parsed = parse(raw | {"services": config.get_object("services") or {}}, stack)
    tokens = config.get_object(_TOKENS) or {}
    return parsed, {
        name: s.to_args(_auth(name, s.auth, tokens), parsed.target) for name, s in parsed.services.items()
    }


def _auth(name: str, auth: AuthConfig, tokens: Mapping[str, str]) -> AuthArgs:
    if auth.type != "bearer":
        return AuthArgs(auth.type)
    variable = auth.token_env or f"TICKOVER_TOKEN_{name.upper().replace('-', '_')}"
    token = tokens.get(name) or os.environ.get(variable, "")
    if token:
        return AuthArgs("bearer", pulumi.Output.secret(token))
    path = f"{NAMESPACE}:services.{name}.auth"
    if not pulumi.runtime.is_dry_run():
        raise config_error([(path, f"no token; set {variable}, or the secret {NAMESPACE}:{_TOKENS}.{name}")])
    pulumi.log.warn(
        f"{path}: no token yet. Before `up`, set {variable}, or the secret {NAMESPACE}:{_TOKENS}.{name}."
    )
    return AuthArgs("bearer", pulumi.Output.secret(_PLACEHOLDER))


def _cross_checks(config: StackConfig, stack: str) -> list[tuple[str, str]]:
    """(key path, message) of what no single field can tell."""
    found: list[tuple[str, str]] = []
    functions: defaultdict[str, list[str]] = defaultdict(list)
    domains: defaultdict[str, list[str]] = defaultdict(list)
    if config.target == "cloud" and not config.region:
        found.append(("region", "required where target is cloud, e.g. cn-hangzhou"))
    for name, service in config.services.items():
        here = f"services.{name}"
        if not _SERVICE_NAME.fullmatch(name):
            found.append((here, "a service's name is at most 40 lower-case letters, digits and hyphens"))
        functions[service.function_name or f"{name}-{stack}"].append(name)
        if service.domain:
            domains[service.domain.name].append(name)
        found += [(f"{here}.{path}", text) for path, text in _service_checks(service, config.target)]
    for what, groups in (("function_name", functions), ("domain", domains)):
        for value, names in groups.items():
            if len(names) > 1:
                both = " and ".join(names)
                found += [(f"services.{n}.{what}", f'services {both} share "{value}"') for n in names]
    return found


def _service_checks(service: ServiceConfig, target: str) -> list[tuple[str, str]]:
    """(path below the service, message) of what is wrong with combinations of its fields."""
    process, cloud = service.image.driver == "process", target == "cloud"
    exclusive = "`{}` and `{}` cannot both be given".format
    pool = service.pool
    conditions = [
        (process and cloud, "image.driver", "process runs on a host only, not on the cloud"),
        (
            bool(service.sleep_mode) and cloud,
            "sleep_mode",
            "for a host only; the cloud frees the GPU by itself",
        ),
        (
            bool(service.sleep_mode) and bool(service.command),
            "sleep_mode",
            exclusive("sleep_mode", "command"),
        ),
        (
            service.prefix_affinity and cloud,
            "prefix_affinity",
            "a setting of a host; the cloud decides this itself, so leave it out",
        ),
        (
            service.prefix_affinity and PREFIX_VARIABLE in service.environment,
            "prefix_affinity",
            exclusive("prefix_affinity", f"environment.{PREFIX_VARIABLE}"),
        ),
        (bool(service.extra_args and service.command), "extra_args", exclusive("extra_args", "command")),
        (bool(pool.reason) and pool.idle.enabled, "pool.reason", exclusive("reason", "idle: true")),
        (cloud and not service.storage.network, "storage.network", "required where target is cloud"),
    ]
    if not service.model.preset:
        own = "required for a model of your own"
        conditions += [(service.cpu is None, "cpu", own), (service.memory_gb is None, "memory_gb", own)]
    found = [("model", service.model.problem()), ("image", service.image.problem())]
    found += [(path, message) for is_wrong, path, message in conditions if is_wrong]
    found += [(f"pool.idle.{key}", text) for key, text in _idle_checks(service, cloud)]
    for problem in idle_problems(service.environment):
        variable, _, text = problem.removeprefix("environmentVariables.").partition(": ")
        found.append((f"environment.{variable}", text.removeprefix(f"{variable} ").rstrip(".")))
    if service.gpu:
        found.append(("gpu.cards", service.gpu.problem()))
    for key, model in (("health_check_config", HealthCheckConfig), ("instance_lifecycle_config", _Lifecycle)):
        found += [(f"{key}.{path}", text) for path, text in findings(model, getattr(service, key))]
    for index, entry in enumerate(pool.schedules):
        found += [(f"pool.schedules[{index}].{key}", text) for key, text in entry_problems(entry.to_entry())]
    return [(path, message) for path, message in found if message]


def _idle_checks(service: ServiceConfig, cloud: bool) -> Iterator[tuple[str, str]]:
    idle, environment = service.pool.idle, service.environment
    for key in idle.to_args().given():
        variable = VARIABLES[key]
        if cloud:
            yield key, "a setting of a host; the cloud decides this itself, so leave it out"
        elif not idle.enabled and key != "max_age_seconds":
            yield key, f"`{key}` and `enabled: false` cannot both be given"
        elif variable in environment:
            yield key, f"`pool.idle.{key}` and `environment.{variable}` cannot both be given"
