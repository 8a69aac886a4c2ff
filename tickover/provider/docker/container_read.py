"""A container as the engine shows it, as outputs, as drifted inputs, and as the inputs of an import.

Owns: the translation back. Promises: pure functions; what a running container cannot change is not
compared; environment and labels of the image are not taken for the program's. Never: calls Docker.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tickover.engine.values import PropertyMap, reveal
from tickover.provider.docker.container_body import MIB
from tickover.provider.docker.fields import without_defaults
from tickover.provider.docker.handler import labels_list, told

Shown = Mapping[str, Any]
# Outputs that Docker fills in where the program says nothing.
COMPUTED: Final = (
    "bridge",
    "command",
    "containerLogs",
    "entrypoints",
    "exitCode",
    "hostname",
    "init",
    "ipcMode",
    "logDriver",
    "networkDatas",
    "runtime",
    "securityOpts",
    "shmSize",
    "stopSignal",
)
# Inputs that `docker update` or `docker rename` can change behind the program's back.
_MOVING: Final = (
    "name",
    "restart",
    "maxRetryCount",
    "memory",
    "memoryReservation",
    "memorySwap",
    "cpuShares",
    "cpuSet",
    "cpuPeriod",
    "cpuQuota",
)


def is_up(shown: Shown) -> bool:
    """True if the container runs, or is between two runs by its restart policy."""
    state = shown["State"]
    return bool(state.get("Running") or state.get("Restarting"))


def outputs(inputs: PropertyMap, shown: Shown) -> PropertyMap:
    """What to remember: the inputs, and what only Docker knows."""
    given = without_defaults(inputs)
    config, host, network = shown["Config"], shown["HostConfig"], shown.get("NetworkSettings") or {}
    told_by_docker = {
        "bridge": network.get("Bridge") or "",
        "command": list(config.get("Cmd") or ()),
        "entrypoints": _list(config.get("Entrypoint")),
        "hostname": config.get("Hostname") or "",
        "init": bool(host.get("Init")),
        "ipcMode": host.get("IpcMode") or "",
        "logDriver": (host.get("LogConfig") or {}).get("Type") or "",
        "networkDatas": _networks(network),
        "runtime": host.get("Runtime") or "",
        "securityOpts": list(host.get("SecurityOpt") or ()),
        "shmSize": (host.get("ShmSize") or 0) // MIB,
        "stopSignal": config.get("StopSignal") or "",
    }
    result = {**told_by_docker, **given, "image": shown["Image"]}
    if given.get("ports"):
        result["ports"] = _with_host_ports(given["ports"], network.get("Ports") or {})
    if not is_up(shown) and shown["State"].get("Status") != "created":
        result["exitCode"] = shown["State"].get("ExitCode", 0)
    return result


def _with_host_ports(ports: Any, bound: Mapping[str, Any]) -> Any:
    """The declared ports, with the host port that the engine chose where none was declared."""
    if not isinstance(ports, list):
        return ports
    filled: list[Any] = []
    for port in ports:
        plain = reveal(port)
        chosen = bound.get(f"{plain.get('internal')}/{plain.get('protocol', 'tcp')}") or ()
        numbers = [int(b["HostPort"]) for b in chosen if b.get("HostPort")]
        known = plain.get("external") or not numbers
        filled.append(port if known else {**plain, "external": numbers[0]})
    return filled


def _networks(network: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "networkName": name,
            "ipAddress": n.get("IPAddress") or "",
            "ipPrefixLength": n.get("IPPrefixLen") or 0,
            "gateway": n.get("Gateway") or "",
            "globalIpv6Address": n.get("GlobalIPv6Address") or "",
            "globalIpv6PrefixLength": n.get("GlobalIPv6PrefixLen") or 0,
            "ipv6Gateway": n.get("IPv6Gateway") or "",
            "macAddress": n.get("MacAddress") or "",
        }
        for name, n in sorted((network.get("Networks") or {}).items())
    ]


def drifted(inputs: PropertyMap, shown: Shown, image_ids: frozenset[str]) -> PropertyMap:
    """The inputs as the container has them now. image_ids: what the declared image name means today."""
    now = dict(inputs)
    actual = _moving(shown)
    for name in _MOVING:
        old, new = reveal(inputs.get(name)), actual[name]
        if (old or _NOTHING[name]) == new or (name == "memorySwap" and old is None):
            continue
        if name == "maxRetryCount" and actual["restart"] != "on-failure":
            continue  # the engine keeps no count for the other policies
        if new == _NOTHING[name]:
            now.pop(name, None)
        else:
            now[name] = new
    declared = reveal(inputs.get("image"))
    if declared not in (shown["Config"].get("Image"), shown["Image"]) and shown["Image"] not in image_ids:
        now["image"] = shown["Config"].get("Image") or shown["Image"]
    if reveal(inputs.get("mustRun")) and reveal(inputs.get("start")) and not is_up(shown):
        now["mustRun"] = False
    joined = inputs.get("networksAdvanced")
    if isinstance(joined, list):
        now["networksAdvanced"] = [n for n in joined if _is_joined(str(reveal(n)["name"]), shown)]
    return now


def _is_joined(name: str, shown: Shown) -> bool:
    networks = (shown.get("NetworkSettings") or {}).get("Networks") or {}
    return any(name == n or name == v.get("NetworkID") for n, v in networks.items())


_NOTHING: Final[Mapping[str, Any]] = {
    "name": "",
    "restart": "no",
    "maxRetryCount": 0,
    "memory": 0,
    "memoryReservation": 0,
    "memorySwap": 0,
    "cpuShares": 0,
    "cpuSet": "",
    "cpuPeriod": 0,
    "cpuQuota": 0,
}


def _moving(shown: Shown) -> dict[str, Any]:
    host = shown["HostConfig"]
    policy = host.get("RestartPolicy") or {}
    swap = host.get("MemorySwap") or 0
    return {
        "name": str(shown["Name"]).lstrip("/"),
        "restart": policy.get("Name") or "no",
        "maxRetryCount": policy.get("MaximumRetryCount") or 0,
        "memory": (host.get("Memory") or 0) // MIB,
        "memoryReservation": (host.get("MemoryReservation") or 0) // MIB,
        "memorySwap": swap // MIB if swap > 0 else swap,
        "cpuShares": host.get("CpuShares") or 0,
        "cpuSet": host.get("CpusetCpus") or "",
        "cpuPeriod": host.get("CpuPeriod") or 0,
        "cpuQuota": host.get("CpuQuota") or 0,
    }


def imported(shown: Shown, image: Mapping[str, Any]) -> PropertyMap:
    """The inputs that a program would have to say for this container. image: what it was made from."""
    config, host = shown["Config"], shown["HostConfig"]
    base = image.get("Config") or {}
    moving = {k: v for k, v in _moving(shown).items() if v != _NOTHING[k]}
    moving.pop("memorySwap", None)
    nano = host.get("NanoCpus") or 0
    return {
        "image": config["Image"],
        **moving,
        **told(
            {
                "command": _other(config, base, "Cmd"),
                "entrypoints": _entrypoints(config, base),
                "envs": [e for e in config.get("Env") or () if e not in (base.get("Env") or ())],
                "labels": labels_list(
                    {
                        k: v
                        for k, v in (config.get("Labels") or {}).items()
                        if (base.get("Labels") or {}).get(k) != v
                    }
                ),
                "user": _other(config, base, "User"),
                "workingDir": _other(config, base, "WorkingDir"),
                "tty": config.get("Tty"),
                "stdinOpen": config.get("OpenStdin"),
                "ports": _ports(host.get("PortBindings") or {}),
                "volumes": [_volume(b) for b in host.get("Binds") or ()],
                "mounts": [_mount(m) for m in host.get("Mounts") or ()],
                "networkMode": None if host.get("NetworkMode") in ("default", "bridge") else _mode(host),
                "networksAdvanced": _joined(shown),
                "privileged": host.get("Privileged"),
                "readOnly": host.get("ReadonlyRootfs"),
                "rm": host.get("AutoRemove"),
                "capabilities": told({"adds": host.get("CapAdd"), "drops": host.get("CapDrop")}),
                "cpus": format(Decimal(nano) / 10**9, "f") if nano else None,
                "gpus": "all" if _all_gpus(host) else None,
            }
        ),
        **({} if is_up(shown) else {"mustRun": False}),
    }


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _other(config: Mapping[str, Any], base: Mapping[str, Any], key: str) -> Any:
    return None if config.get(key) == base.get(key) else config.get(key)


def _entrypoints(config: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    ours, theirs = _list(config.get("Entrypoint")), _list(base.get("Entrypoint"))
    return [] if ours == theirs else ours


def _ports(bindings: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key, bound in sorted(bindings.items()):
        internal, _, protocol = key.partition("/")
        for binding in bound or ():
            port: dict[str, Any] = {"internal": int(internal), "protocol": protocol or "tcp"}
            if binding.get("HostPort"):
                port["external"] = int(binding["HostPort"])
            if binding.get("HostIp"):
                port["ip"] = binding["HostIp"]
            found.append(port)
    return found


def _volume(bind: str) -> dict[str, Any]:
    source, path, *options = bind.split(":")
    kind = "hostPath" if source.startswith("/") else "volumeName"
    read_only = {"readOnly": True} if options and "ro" in options[0].split(",") else {}
    return {kind: source, "containerPath": path, **read_only}


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    told_by_docker = {"source": mount.get("Source"), "readOnly": mount.get("ReadOnly")}
    return {"target": mount["Target"], "type": mount["Type"], **told(told_by_docker)}


def _joined(shown: Shown) -> list[dict[str, Any]]:
    names = sorted((shown.get("NetworkSettings") or {}).get("Networks") or {})
    return [{"name": n} for n in names if n not in ("bridge", "host", "none")]


def _mode(host: Mapping[str, Any]) -> str | None:
    """host, none or container:…; a network's name is said by networksAdvanced."""
    mode = str(host.get("NetworkMode") or "")
    return mode if mode in ("host", "none") or mode.startswith("container:") else None


def _all_gpus(host: Mapping[str, Any]) -> bool:
    return any(
        r.get("Count") == -1 and r.get("Capabilities") == [["gpu"]] for r in host.get("DeviceRequests") or ()
    )
