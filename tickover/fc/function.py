"""The function: spec, container, mounts, network, limits.

Owns: `Function` (what Create and Update send) and its cross-property rules. Promises: every field and limit
of FC for functions made from images. Never: knows the state of a function.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import Field, StrictBool

from tickover.fc.base import FcModel, Rule, Wire
from tickover.fc.container import (
    AccelerationInfo,
    CustomContainerConfig,
    HealthCheckConfig,
    RegistryAuthConfig,
    RegistryCertConfig,
    RegistryConfig,
    RegistryNetworkConfig,
)
from tickover.fc.gpu import CATALOGUE, FORMER_NAMES, MEMORY_STEP_GB, GpuType
from tickover.fc.limits import Choice, Json, Number, Text, Whole, broken, described, listed
from tickover.fc.mounts import (
    MAX_MOUNTS,
    CustomDns,
    DnsOption,
    JuiceFsConfig,
    JuiceFsMountPoint,
    NasConfig,
    NasMountPoint,
    OssMountConfig,
    OssMountPoint,
    PolarFsConfig,
    PolarFsMountPoint,
    TracingConfig,
    VpcConfig,
)
from tickover.fc.session import AFFINITIES, affinity_violations

__all__ = [
    "AccelerationInfo",
    "CustomContainerConfig",
    "CustomDns",
    "DnsOption",
    "Function",
    "GpuConfig",
    "HealthCheckConfig",
    "InstanceLifecycleConfig",
    "JuiceFsConfig",
    "JuiceFsMountPoint",
    "LifecycleHook",
    "LogConfig",
    "NasConfig",
    "NasMountPoint",
    "OssMountConfig",
    "OssMountPoint",
    "PolarFsConfig",
    "PolarFsMountPoint",
    "RegistryAuthConfig",
    "RegistryCertConfig",
    "RegistryConfig",
    "RegistryNetworkConfig",
    "Tag",
    "TracingConfig",
    "VpcConfig",
]

FUNCTION_NAME: Final = Text(
    1, 64, r"[A-Za-z_][A-Za-z0-9_-]*", "be letters, digits, _ and -, and not start with a digit or -"
)
FunctionName = Annotated[str, FUNCTION_NAME]
RUNTIME: Final = "custom-container"

_CPU_MAX: Final = 16
_CPU_MEMORY_MB: Final = (128, 32768)
_SMALL_DISK_MB: Final = 512
_CPU_DISK_MB: Final = (_SMALL_DISK_MB, 10240)
_GPU_DISK_STEP_MB: Final = 10240
_GPU_DISK_MAX_MB: Final = 204800
_INITIALIZER_MAX_SECONDS: Final = 300
_PRE_STOP_MAX_SECONDS: Final = 90


class _CardType(Choice):
    """A card of the catalogue; an old name gets its new one suggested."""

    def check(self, value: Any) -> str:
        if isinstance(value, str) and value in FORMER_NAMES:
            raise broken(f"must be a name of today, but is {value!r}; write {FORMER_NAMES[value]}")
        return Choice.check(self, value)


def _whole_cards(wire: Wire) -> Iterator[tuple[str, str]]:
    card, size = CATALOGUE.get(wire.get("gpuType", "")), wire.get("gpuMemorySize")
    if card is None or size is None or card.cards(int(size)):
        return
    sizes = [n * card.vram_mb for n in range(1, card.max_cards + 1)]
    close = min(sizes, key=lambda s: abs(s - size))
    allowed = f"{sizes[0]} MB for each of 1 to {card.max_cards} cards"
    yield (
        "gpuMemorySize",
        f"must be whole cards of {card.name}, {allowed}, but is {size}; the nearest is {close}",
    )


class GpuConfig(FcModel):
    """Whole cards: gpu_memory_size is the memory of one card times the number of cards, in MB."""

    gpu_type: Annotated[str, _CardType(*CATALOGUE)]
    gpu_memory_size: Annotated[int, Whole(1, 16 * 141 * 1024, unit="MB")]

    rules = (_whole_cards,)


def _one_entry(wire: Wire) -> Iterator[tuple[str, str]]:
    if wire.get("handler") and wire.get("command"):
        yield "command", "cannot be given together with handler; keep one of them"


class LifecycleHook(FcModel):
    """handler or command, not both. A custom container takes command for its initializer."""

    handler: str | None = None
    command: list[str] | None = None
    timeout: Annotated[int | None, Whole(1, _INITIALIZER_MAX_SECONDS, unit="seconds")] = None

    rules = (_one_entry,)


def _short_pre_stop(wire: Wire) -> Iterator[tuple[str, str]]:
    hook = wire.get("preStop") or {}
    if hook.get("timeout", 0) > _PRE_STOP_MAX_SECONDS:
        yield (
            "preStop.timeout",
            f"must be between 1 and {_PRE_STOP_MAX_SECONDS} seconds, but is {hook['timeout']}",
        )
    if hook.get("command"):
        yield "preStop.command", "is not supported; a pre-stop hook has a handler only"


class InstanceLifecycleConfig(FcModel):
    """initializer: before the first request, at most 300 s. preStop: before the end, at most 90 s."""

    initializer: LifecycleHook | None = None
    pre_stop: LifecycleHook | None = None

    rules = (_short_pre_stop,)


def _project_and_store(wire: Wire) -> Iterator[tuple[str, str]]:
    if bool(wire.get("project")) != bool(wire.get("logstore")):
        missing, given = ("logstore", "project") if wire.get("project") else ("project", "logstore")
        yield missing, f"must be given together with {given}"


class LogConfig(FcModel):
    """Where logs go, and which metrics are kept."""

    project: str | None = None
    logstore: str | None = None
    log_begin_rule: Annotated[str | None, Choice("None", "DefaultRegex")] = None
    enable_request_metrics: StrictBool | None = None
    enable_instance_metrics: StrictBool | None = None
    enable_llm_metrics: StrictBool | None = None

    rules = (_project_and_store,)
    defaults = {  # noqa: RUF012 - read-only, typed in FcModel
        "enableRequestMetrics": True,
        "enableInstanceMetrics": False,
        "enableLlmMetrics": False,
    }


class Tag(FcModel):
    key: Annotated[str, Text(1, 128), Field(alias="Key")]
    value: Annotated[str | None, Text(0, 128), Field(alias="Value")] = None


# -- rules across properties ---------------------------------------------------------------------------


def _needs_container(wire: Wire) -> Iterator[tuple[str, str]]:
    if wire.get("runtime") == RUNTIME and "customContainerConfig" not in wire:
        yield "customContainerConfig", "is required by runtime custom-container; give at least its image"


def _cores_without_gpu(wire: Wire) -> Iterator[tuple[str, str]]:
    cpu = wire.get("cpu")
    if "gpuConfig" not in wire and cpu is not None and cpu > _CPU_MAX:
        yield "cpu", f"must be at most {_CPU_MAX} without a GPU, but is {_plain(cpu)}"


def _memory_without_gpu(wire: Wire) -> Iterator[tuple[str, str]]:
    memory = wire.get("memorySize")
    low, high = _CPU_MEMORY_MB
    if "gpuConfig" not in wire and memory is not None and memory > high:
        yield "memorySize", f"must be between {low} and {high} MB without a GPU, but is {memory}"


def _memory_per_core(wire: Wire) -> Iterator[tuple[str, str]]:
    """Both or neither, and 1 to 4 GB for each vCPU."""
    cpu, memory = wire.get("cpu"), wire.get("memorySize")
    if "gpuConfig" in wire:
        return
    if (cpu is None) != (memory is None):
        missing, given = ("cpu", "memorySize") if cpu is None else ("memorySize", "cpu")
        yield missing, f"must be given together with {given}"
    elif cpu is not None and memory is not None:
        low = Decimal(repr(cpu)) * 1024
        if not low <= memory <= 4 * low:
            allowed = f"{_plain(low)} to {_plain(4 * low)} MB for {_plain(cpu)} vCPU"
            yield "memorySize", f"must be 1 to 4 GB for each vCPU, that is {allowed}, but is {memory}"


def _disk(wire: Wire) -> Iterator[tuple[str, str]]:
    disk = wire.get("diskSize")
    if disk is None:
        return
    if "gpuConfig" not in wire:
        if disk not in _CPU_DISK_MB:
            yield "diskSize", f"must be {listed(_CPU_DISK_MB)} MB without a GPU, but is {disk}"
    elif disk != _SMALL_DISK_MB and disk % _GPU_DISK_STEP_MB:
        yield (
            "diskSize",
            f"must be {_SMALL_DISK_MB} MB, or {_GPU_DISK_STEP_MB} to {_GPU_DISK_MAX_MB} MB in steps of "
            f"{_GPU_DISK_STEP_MB}, but is {disk}",
        )


def _gpu_needs_cores(wire: Wire) -> Iterator[tuple[str, str]]:
    if "gpuConfig" in wire and "cpu" not in wire:
        yield "cpu", "is required with a GPU"


def _gpu_needs_memory(wire: Wire) -> Iterator[tuple[str, str]]:
    if "gpuConfig" in wire and "memorySize" not in wire:
        yield "memorySize", "is required with a GPU"


def _cores_of_card(wire: Wire) -> Iterator[tuple[str, str]]:
    """Only some numbers of vCPU come with a card."""
    cpu = wire.get("cpu")
    card, cards = _cards(wire)
    if card and cards and cpu is not None and card.memory_range_gb(cpu, cards) is None:
        sizes = listed([n * cards for n in card.memory_gb_per_card])
        yield "cpu", f"must be {sizes} with {_named(card, cards)}, but is {_plain(cpu)}"


def _memory_of_card(wire: Wire) -> Iterator[tuple[str, str]]:
    """The range of memory that comes with a card and its vCPU."""
    cpu, memory = wire.get("cpu"), wire.get("memorySize")
    card, cards = _cards(wire)
    if not card or not cards or cpu is None or memory is None:
        return
    allowed = card.memory_range_gb(cpu, cards)
    if allowed is None:
        return
    step = MEMORY_STEP_GB * 1024
    low, high = allowed[0] * 1024, allowed[1] * 1024
    if memory % step or not low <= memory <= high:
        near = min(range(low, high + 1, step), key=lambda size: abs(size - memory))
        yield (
            "memorySize",
            f"must be {low} to {high} MB ({allowed[0]} to {allowed[1]} GB) in steps of {step} with "
            f"{_named(card, cards)} and {_plain(cpu)} vCPU, but is {memory}; the nearest is {near}",
        )


def _cards(wire: Wire) -> tuple[GpuType | None, int | None]:
    """The card type of a function and how many whole cards it has."""
    gpu = wire.get("gpuConfig") or {}
    card = CATALOGUE.get(gpu.get("gpuType", ""))
    return card, card.cards(int(gpu.get("gpuMemorySize", 0))) if card else None


def _named(card: GpuType, cards: int) -> str:
    return f"{cards} x {card.name}" if cards > 1 else card.name


def _cloud_nas_needs_vpc(wire: Wire) -> Iterator[tuple[str, str]]:
    points = (wire.get("nasConfig") or {}).get("mountPoints") or ()
    cloud = [p for p in points if ".nas.aliyuncs.com:" in str(p.get("serverAddr", ""))]
    if cloud and "vpcConfig" not in wire:
        yield "vpcConfig", "is required to reach the NAS in nasConfig; name the VPC that the NAS is in"


def _distinct_folders(wire: Wire) -> Iterator[tuple[str, str]]:
    """Different kinds of file systems may not share a folder either."""
    seen: dict[str, str] = {}
    for config in ("nasConfig", "ossMountConfig", "polarFsConfig", "juiceFsConfig"):
        for index, point in enumerate((wire.get(config) or {}).get("mountPoints") or ()):
            folder = str(point.get("mountDir", "")).rstrip("/")
            here = f"{config}.mountPoints[{index}].mountDir"
            other = seen.setdefault(folder, here)
            if folder and other.split(".")[0] != config:
                yield here, f"must differ from {other}, but both are {folder}"


def _environment(wire: Wire) -> Iterator[tuple[str, str]]:
    for name in wire.get("environmentVariables") or {}:
        if not name.isidentifier() or not name.isascii():
            yield (
                f"environmentVariables.{name}",
                "must have a name of letters, digits and _ that does not start with a digit",
            )


def _few_layers(wire: Wire) -> Iterator[tuple[str, str]]:
    count = len(wire.get("layers") or ())
    if count > MAX_MOUNTS:
        yield "layers", f"must have at most {MAX_MOUNTS} layers, but has {count}"


def _distinct_tags(wire: Wire) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for index, tag in enumerate(wire.get("tags") or ()):
        key = tag.get("Key", "")
        if key and key in seen:
            yield f"tags[{index}].Key", f"must not repeat the key {described(key)}"
        seen.add(key)


def _affinity(wire: Wire) -> Iterator[tuple[str, str]]:
    yield from affinity_violations(wire.get("sessionAffinity"), wire.get("sessionAffinityConfig"))


def _plain(value: float | Decimal) -> str:
    """8 for 8.0, 0.35 for 0.35."""
    return format(Decimal(str(value)).normalize(), "f")


_RULES: Final[tuple[Rule, ...]] = (
    _needs_container,
    _cores_without_gpu,
    _memory_without_gpu,
    _memory_per_core,
    _disk,
    _gpu_needs_cores,
    _gpu_needs_memory,
    _cores_of_card,
    _memory_of_card,
    _cloud_nas_needs_vpc,
    _distinct_folders,
    _environment,
    _few_layers,
    _distinct_tags,
    _affinity,
)


class Function(FcModel):
    """A function made from an image. cpu in vCPU; memory_size and disk_size in MB; timeouts in seconds."""

    function_name: FunctionName
    runtime: Annotated[str, Choice(RUNTIME)]
    handler: Annotated[str, Text(1, 128)]
    description: Annotated[str | None, Text(0, 256)] = None
    cpu: Annotated[float | None, Number("0.05", "384", "0.05")] = None
    memory_size: Annotated[int | None, Whole(128, 16 * 248 * 1024, 64, "MB")] = None
    disk_size: Annotated[int | None, Whole(_SMALL_DISK_MB, _GPU_DISK_MAX_MB, unit="MB")] = None
    gpu_config: GpuConfig | None = None
    timeout: Annotated[int | None, Whole(1, 86400, unit="seconds")] = None
    instance_concurrency: Annotated[int | None, Whole(1, 200)] = None
    idle_timeout: Annotated[int | None, Whole(300, 3600, unit="seconds")] = None
    custom_container_config: CustomContainerConfig | None = None
    nas_config: NasConfig | None = None
    oss_mount_config: OssMountConfig | None = None
    polar_fs_config: PolarFsConfig | None = None
    juice_fs_config: JuiceFsConfig | None = None
    vpc_config: VpcConfig | None = None
    environment_variables: dict[str, str] | None = Field(default=None, repr=False)
    role: str | None = None
    internet_access: StrictBool | None = None
    layers: list[str] | None = None
    tags: list[Tag] | None = None
    resource_group_id: str | None = None
    custom_dns: CustomDns | None = Field(default=None, alias="customDNS")
    tracing_config: TracingConfig | None = None
    instance_lifecycle_config: InstanceLifecycleConfig | None = None
    log_config: LogConfig | None = None
    session_affinity: Annotated[str | None, Choice(*AFFINITIES)] = None
    session_affinity_config: Annotated[str | None, Json()] = None
    instance_isolation_mode: Annotated[
        str | None, Choice("SHARE", "SESSION_EXCLUSIVE", "REQUEST_EXCLUSIVE")
    ] = None
    disable_ondemand: StrictBool | None = None
    enable_long_living: StrictBool | None = None
    disable_inject_credentials: Annotated[str | None, Choice("None", "Env", "Request", "All")] = None

    rules = _RULES
    create_only = frozenset({"functionName", "tags", "resourceGroupId"})
    defaults = {  # noqa: RUF012 - read-only, typed in FcModel
        "timeout": 3,
        "instanceConcurrency": 1,
        "diskSize": _SMALL_DISK_MB,
        "internetAccess": True,
        "instanceIsolationMode": "SHARE",
        "sessionAffinity": "NONE",
        "disableOndemand": False,
        "enableLongLiving": False,
        "disableInjectCredentials": "None",
    }
