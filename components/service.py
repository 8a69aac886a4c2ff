"""VllmService: a model as a service, from its name.

Owns: the argv of the model server and how the components of one service hang together. Promises: what the
preset says is used only where nothing was given. Never: chooses a version of an image.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pulumi

from tickover.errors import ConfigError

from .checks import at_most_one
from .domain import CustomDomain, CustomDomainArgs
from .function import AuthArgs, GpuArgs, GpuFunction, GpuFunctionArgs
from .idle import IdleArgs
from .image import RegistryImage, RegistryImageArgs
from .pool import ReservedPool, ReservedPoolArgs
from .presets import PRESETS, Preset
from .schedule import Schedule, ScheduleArgs
from .storage import NasMount, NasMountArgs

PORT: Final = 8000
_VLLM: Final = ("python3", "-m", "vllm.entrypoints.openai.api_server")
_LLAMA: Final = ("python3", "-m", "tickover.llama_server")
_SLEEP_VARIABLES: Final = {"VLLM_SERVER_DEV_MODE": "1"}  # without it there is no way to ask for the sleep
_CONCURRENCY: Final = 16


@dataclass(frozen=True, slots=True)
class ModelArgs:
    """A model of one's own. path: below the NAS folder; served_name: what callers write in `model`."""

    path: str
    served_name: str


@dataclass(frozen=True, slots=True)
class PoolArgs:
    """See `ReservedPoolArgs`. schedule: None for the same number around the clock. settings: of idling."""

    instances: int = 1
    idle: bool = True
    reason: str = ""
    schedule: ScheduleArgs | None = None
    settings: IdleArgs | None = None


@dataclass(frozen=True, slots=True)
class VllmServiceArgs:
    """What a person says about a service; None means: what the preset says, else the default.

    model: the name of a preset, or a model of one's own. command: a whole argv instead of ours.
    enforce_eager: no CUDA graphs, which starts faster, takes less GPU memory and decodes slower.
    sleep_mode: vLLM can be put to sleep, which is how an idle instance of a host gives its GPU memory up.
    gpu: "none" leaves out the preset's GPU. With `image.process`: vLLM as installed on the host.
    trust_remote_code: run the Python code that comes with a model. extra_args: added to our argv.
    domain: a host name of one's own, or empty. version: roll back to this published version.
    canary: the share of the requests that the newest version gets beside that one.
    prefix_affinity: see `GpuFunctionArgs`.
    health_check_config, instance_lifecycle_config: see `GpuFunctionArgs`.
    """

    model: str | ModelArgs
    image: RegistryImageArgs
    storage: NasMountArgs
    cpu: float | None = None
    memory_gb: float | None = None
    gpu: GpuArgs | Literal["none"] | None = None
    disk_mb: int = 512
    port: int = PORT
    instance_concurrency: int = _CONCURRENCY
    timeout_seconds: int = 86_400
    on_demand: bool = False
    max_instances: int | None = None
    max_model_len: int | None = None
    enforce_eager: bool = True
    sleep_mode: bool = False
    trust_remote_code: bool = True
    extra_args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    health_check_config: Mapping[str, Any] = field(default_factory=dict)
    instance_lifecycle_config: Mapping[str, Any] = field(default_factory=dict)
    auth: AuthArgs = field(default_factory=AuthArgs)
    pool: PoolArgs = field(default_factory=PoolArgs)
    domain: str = ""
    prefix_affinity: bool = False
    function_name: str = ""
    version: str = ""
    canary: float = 0.0

    @property
    def on_vllm(self) -> bool:
        """Whether vLLM serves; as a process without a GPU it is llama.cpp."""
        return not self.image.process or isinstance(self.gpu, GpuArgs)


class VllmService(pulumi.ComponentResource):
    """A model behind a URL. url: the domain if there is one; model: the name to call it by."""

    def __init__(self, name: str, args: VllmServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        preset, served_name = _model(name, args)
        at_most_one(name, command=args.command, extra_args=args.extra_args)
        super().__init__("tickover:index:VllmService", name, {"model": served_name}, opts)
        child = pulumi.ResourceOptions(parent=self)
        image = RegistryImage(f"{name}-image", args.image, child)
        storage = NasMount(f"{name}-models", args.storage, child)
        self.function = GpuFunction(
            name, _function_args(name, args, preset, served_name, image, storage), child
        )
        schedules: tuple[Schedule, ...] = ()
        if args.pool.schedule is not None:
            schedules = (Schedule(f"{name}-schedule", args.pool.schedule, child),)
        self.pool = ReservedPool(
            f"{name}-pool",
            ReservedPoolArgs(
                function=self.function,
                instances=args.pool.instances,
                idle=args.pool.idle,
                reason=args.pool.reason,
                schedules=schedules,
            ),
            child,
        )
        self.url: pulumi.Output[str] = self.function.url
        if args.domain:
            domain = CustomDomain(f"{name}-domain", CustomDomainArgs(args.domain, self.function), child)
            self.url = domain.url
        self.model = served_name
        self.register_outputs({"url": self.url, "model": self.model})


def model_argv(
    args: VllmServiceArgs, preset: Preset | None, served_name: str, model_path: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Entrypoint and command of the model server. model_path: as instances see it."""
    if args.command:
        return (), args.command
    length = args.max_model_len or (preset.max_model_len if preset else None)
    limits = ["--max-model-len", str(length)] if length else []
    limits += ["--max-num-seqs", str(args.instance_concurrency)]
    if not args.on_vllm:
        flags = ["--model", model_path, "--served-model-name", served_name]
        flags += ["--host", "127.0.0.1", "--port", "${port}", *limits]
        return _LLAMA, (*flags, *args.extra_args)
    flags = ["--enforce-eager"] if args.enforce_eager else []
    flags += ["--enable-sleep-mode"] if args.sleep_mode else []
    flags += ["--model", model_path]
    flags += ["--trust-remote-code"] if args.trust_remote_code else []
    host, port = ("127.0.0.1", "${port}") if args.image.process else ("0.0.0.0", str(args.port))
    flags += ["--served-model-name", served_name, "--host", host, "--port", port, *limits]
    return _VLLM, (*flags, *args.extra_args)


def _model(name: str, args: VllmServiceArgs) -> tuple[Preset | None, str]:
    if isinstance(args.model, ModelArgs):
        return None, args.model.served_name
    preset = PRESETS.get(args.model)
    if preset is None:
        near = difflib.get_close_matches(args.model, PRESETS, n=1)
        known = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(PRESETS))}."
        raise ConfigError(
            "unknown-preset",
            "No such model preset",
            f"{name}: there is no preset {args.model!r}; {known} "
            "A model of your own is named by `path` and `served_name`.",
            address=name,
        )
    return preset, preset.served_name


def _model_path(args: VllmServiceArgs, preset: Preset | None, name: str) -> str:
    if isinstance(args.model, ModelArgs):
        return args.model.path
    assert preset is not None
    if args.on_vllm:
        return preset.folder
    if not preset.gguf:
        raise ConfigError(
            "preset-needs-image",
            "Preset needs an image",
            f"{name}: the preset {args.model!r} has no GGUF file, which is what `image.process` serves; "
            "give `image.reference`, or a model of your own by `path` and `served_name`.",
            address=name,
        )
    return f"{preset.folder}/{preset.gguf}"


def _function_args(
    name: str,
    args: VllmServiceArgs,
    preset: Preset | None,
    served_name: str,
    image: RegistryImage,
    storage: NasMount,
) -> GpuFunctionArgs:
    entrypoint, command = model_argv(args, preset, served_name, storage.path(_model_path(args, preset, name)))
    cpu, memory_gb, gpu = _size(name, args, preset)
    return GpuFunctionArgs(
        image=image,
        cpu=cpu,
        memory_gb=memory_gb,
        gpu=gpu,
        entrypoint=entrypoint,
        command=command,
        port=args.port,
        storage=storage,
        environment={**(_SLEEP_VARIABLES if args.sleep_mode else {}), **args.environment},
        idle=args.pool.settings,
        prefix_affinity=args.prefix_affinity,
        health_check_config=args.health_check_config,
        instance_lifecycle_config=args.instance_lifecycle_config,
        disk_mb=args.disk_mb,
        timeout_seconds=args.timeout_seconds,
        instance_concurrency=args.instance_concurrency,
        on_demand=args.on_demand,
        max_instances=args.max_instances,
        auth=args.auth,
        function_name=args.function_name,
        description=f"{served_name}, served by tickover",
        version=args.version,
        canary=args.canary,
    )


def _size(name: str, args: VllmServiceArgs, preset: Preset | None) -> tuple[float, float, GpuArgs | None]:
    cpu, memory_gb = args.cpu, args.memory_gb
    gpu = None if args.gpu == "none" else args.gpu
    if preset is not None and not args.on_vllm:
        cpu, memory_gb = cpu or preset.process_cpu, memory_gb or preset.process_memory_gb
    elif preset is not None:
        cpu, memory_gb = cpu or preset.cpu, memory_gb or preset.memory_gb
        gpu = preset.gpu if args.gpu is None else gpu
    if cpu is None or memory_gb is None:
        raise ConfigError(
            "missing-argument",
            "Argument missing",
            f"{name}: a model of your own needs `cpu` and `memory_gb`; only presets know theirs.",
            address=name,
        )
    return cpu, memory_gb, gpu
