"""What a container instance is made of: the body of the engine's create call.

Owns: the reading of a spec as a container, and the labels by which a host knows its own. Promises: pure but
for looking at which NAS folders exist; limits, read-only mounts and no privileges are in every body; the
registry's password is in none. Never: calls the engine.

The port is published on the loopback and not reached at the container's address: the pool promises a port
before the container exists, a container's address changes, and rootless engines have none to reach. The price
is that the engine's forwarder accepts for the port before the server listens (see `docker_probe`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tickover.fc.container import CustomContainerConfig
from tickover.fc.function import Function
from tickover.fc.gpu import CATALOGUE
from tickover.host.runtimes.base import LaunchPlan, RuntimeFailed
from tickover.host.runtimes.command import PORT_WORD
from tickover.host.runtimes.docker_mounts import mounts
from tickover.host.runtimes.procfs import INSTANCE_VARIABLE

OWNER_LABEL: Final = "io.tickover.owner"  # the data folder of the host
INSTANCE_LABEL: Final = "io.tickover.instance"
FUNCTION_LABEL: Final = "io.tickover.function"
SPEC_LABEL: Final = "io.tickover.spec"
LOG_LABEL: Final = "io.tickover.log"

SHM_VARIABLE: Final = "FCGPU_RUNTIME_SHMSIZE"
DEFAULT_PORT: Final = int(CustomContainerConfig.defaults["port"])
DEFAULT_ADDRESS: Final = "unix:///var/run/docker.sock"
_LOOPBACK: Final = "127.0.0.1"
_MIB: Final = 1024 * 1024
_NANO_CPUS: Final = 10**9
_DIGEST_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """owner: the host's data folder. The engine keeps log_files files of log_max_bytes for each container;
    what is read is the host's own log. call_seconds: for a call that is done at once by a healthy engine."""

    owner: str
    address: str = DEFAULT_ADDRESS
    log_max_bytes: int = 16 * _MIB
    log_files: int = 2
    call_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What has to be known of an engine. architecture: as images say it."""

    version: str
    architecture: str
    cpus: int


def engine_address(environ: Mapping[str, str]) -> str:
    """Where the engine is, as the docker command finds it."""
    return environ.get("DOCKER_HOST") or DEFAULT_ADDRESS


def container_name(instance_id: str) -> str:
    return f"tickover-{instance_id}"


def image_of(spec: Function) -> str:
    """The image's name. Raises RuntimeFailed."""
    container = spec.custom_container_config
    if container is None or not container.image:
        raise RuntimeFailed(f"function {spec.function_name} names no image in customContainerConfig")
    return container.image


def container_port(spec: Function) -> int:
    """What its server has to listen on, inside."""
    container = spec.custom_container_config
    return (container.port if container else None) or DEFAULT_PORT


def spec_digest(spec: Function) -> str:
    """What two specs share that make the same container. Passwords of registries are left out: a label is
    read by others, and a new password is no new container."""
    wire = spec.to_wire()
    (wire.get("customContainerConfig") or {}).pop("registryConfig", None)
    text = json.dumps(wire, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def container_body(plan: LaunchPlan, settings: DockerSettings, engine: EngineFacts) -> dict[str, Any]:
    """The create call's body but for the image.

    Raises RuntimeFailed for a spec that cannot be a container here.
    """
    container = plan.spec.custom_container_config
    port = container_port(plan.spec)
    body: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in sorted(environment(plan, port).items())],
        "ExposedPorts": {f"{port}/tcp": {}},
        "Labels": labels(plan, settings),
        "StopSignal": "SIGTERM",
        # The image's own check would run programs inside, frozen or not; the host's is the one that counts.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_config(plan, settings, engine, port),
    }
    # Given neither, the image's own are used; an entrypoint alone takes the image's command away.
    for name, words in (("Entrypoint", container and container.entrypoint), ("Cmd", _command(container))):
        if words:
            body[name] = [word.replace(PORT_WORD, str(port)) for word in words]
    return body


def labels(plan: LaunchPlan, settings: DockerSettings) -> dict[str, str]:
    return {
        OWNER_LABEL: settings.owner,
        INSTANCE_LABEL: plan.instance_id,
        FUNCTION_LABEL: plan.spec.function_name,
        SPEC_LABEL: spec_digest(plan.spec),
        LOG_LABEL: str(plan.log_path),
    }


def environment(plan: LaunchPlan, port: int) -> dict[str, str]:
    """The function's variables and the port; nothing of the host's reaches a container."""
    given = plan.spec.environment_variables or {}
    env = {"PYTHONUNBUFFERED": "1"}  # or the last words of a crash stay in a buffer
    env.update({name: value.replace(PORT_WORD, str(port)) for name, value in given.items()})
    env["PORT"] = env["FC_SERVER_PORT"] = str(port)
    env[INSTANCE_VARIABLE] = plan.instance_id
    return env


def _command(container: CustomContainerConfig | None) -> list[str] | None:
    return container.command if container else None


def _host_config(
    plan: LaunchPlan, settings: DockerSettings, engine: EngineFacts, port: int
) -> dict[str, Any]:
    published = {"HostIp": _LOOPBACK, "HostPort": str(plan.port)}
    config: dict[str, Any] = {
        "NetworkMode": "bridge",
        "PortBindings": {f"{port}/tcp": [published]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},  # the pool replaces what ends
        "AutoRemove": False,  # its exit code would go with it
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "Mounts": mounts(plan.spec, plan.nas, {OWNER_LABEL: settings.owner}),
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(settings.log_max_bytes), "max-file": str(settings.log_files)},
        },
        **limits(plan.spec, engine),
    }
    request = device_request(plan.spec, [gpu.uuid for gpu in plan.gpus or ()])
    if request:
        config["DeviceRequests"] = [request]
    return config


def limits(spec: Function, engine: EngineFacts) -> dict[str, Any]:
    """Processor, memory and shared memory. An engine refuses more processors than its machine has, and that
    many are no limit."""
    found: dict[str, Any] = {}
    if spec.cpu is not None:
        found["NanoCpus"] = min(int(Decimal(str(spec.cpu)) * _NANO_CPUS), engine.cpus * _NANO_CPUS)
    if spec.memory_size is not None:
        # The same for both: no swap, as a server that swaps is slower than one that is replaced.
        found["Memory"] = found["MemorySwap"] = spec.memory_size * _MIB
    shm = shm_bytes(spec)
    if shm is not None:
        found["ShmSize"] = shm
    return found


def shm_bytes(spec: Function) -> int | None:
    """The size of /dev/shm, if the function asks for one. Raises RuntimeFailed."""
    text = (spec.environment_variables or {}).get(SHM_VARIABLE, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise RuntimeFailed(f"environmentVariables.{SHM_VARIABLE} must be a number of bytes above 0")
    return int(text)


def device_request(spec: Function, gpu_ids: Sequence[str] = ()) -> dict[str, Any] | None:
    """The cards of a function with a GPU, as `docker run --gpus` asks for them."""
    gpu = spec.gpu_config
    if gpu is None:
        return None
    if gpu_ids:
        return {"Driver": "", "DeviceIDs": list(gpu_ids), "Capabilities": [["gpu"]]}
    card = CATALOGUE.get(gpu.gpu_type)
    cards = card.cards(gpu.gpu_memory_size) if card else None
    return {"Driver": "", "Count": cards or 1, "Capabilities": [["gpu"]]}
