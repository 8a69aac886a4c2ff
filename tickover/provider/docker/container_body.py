"""A container's inputs in the engine's form.

Owns: the translation for create and update. Promises: pure functions of revealed inputs; sizes are MiB in
the inputs and bytes for the engine. Never: calls Docker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from tickover.provider.docker.handler import labels_map, told

MIB: Final = 1024 * 1024
_NANOS: Final = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
DEFAULT_MODE: Final = "bridge"

Inputs = Mapping[str, Any]


def nanoseconds(duration: str) -> int:
    """``1m30s`` as nanoseconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", duration)
    return sum(int(Decimal(number) * _NANOS[unit]) for number, unit in parts)


def create_body(inputs: Inputs) -> dict[str, Any]:
    """The body of the create call."""
    joined = inputs.get("networksAdvanced") or []
    body = told(
        {
            "Image": inputs["image"],
            "Hostname": inputs.get("hostname"),
            "Domainname": inputs.get("domainname"),
            "Tty": inputs.get("tty"),
            "OpenStdin": inputs.get("stdinOpen"),
            "Env": inputs.get("envs"),
            "Cmd": inputs.get("command"),
            "Entrypoint": inputs.get("entrypoints"),
            "User": inputs.get("user"),
            "WorkingDir": inputs.get("workingDir"),
            "StopSignal": inputs.get("stopSignal"),
            "Labels": labels_map(inputs.get("labels")),
            "ExposedPorts": {_port(p): {} for p in inputs.get("ports") or ()},
            "Volumes": {v["containerPath"]: {} for v in inputs.get("volumes") or () if _is_anonymous(v)},
            "Healthcheck": _healthcheck(inputs.get("healthcheck") or {}),
            "NetworkingConfig": {"EndpointsConfig": {joined[0]["name"]: endpoint(joined[0])}}
            if joined
            else {},
        }
    )
    if "stopTimeout" in inputs:
        body["StopTimeout"] = inputs["stopTimeout"]
    body["HostConfig"] = _host_config(inputs, joined[0]["name"] if joined else "")
    return body


def _host_config(inputs: Inputs, first_network: str) -> dict[str, Any]:
    mode = inputs.get("networkMode") or DEFAULT_MODE
    capabilities = inputs.get("capabilities") or {}
    config = told(
        {
            "NetworkMode": first_network if first_network and mode == DEFAULT_MODE else mode,
            "RestartPolicy": _restart(inputs),
            "AutoRemove": inputs.get("rm"),
            "ReadonlyRootfs": inputs.get("readOnly"),
            "Privileged": inputs.get("privileged"),
            "PublishAllPorts": inputs.get("publishAllPorts"),
            "PortBindings": _bindings(inputs.get("ports") or ()),
            "Binds": [_bind(v) for v in inputs.get("volumes") or () if _is_bind(v)],
            "VolumesFrom": [_from(v) for v in inputs.get("volumes") or () if v.get("fromContainer")],
            "Mounts": [_mount(m) for m in inputs.get("mounts") or ()],
            "Tmpfs": inputs.get("tmpfs"),
            "CapAdd": capabilities.get("adds"),
            "CapDrop": capabilities.get("drops"),
            "Dns": inputs.get("dns"),
            "DnsOptions": inputs.get("dnsOpts"),
            "DnsSearch": inputs.get("dnsSearches"),
            "ExtraHosts": [f"{h['host']}:{h['ip']}" for h in inputs.get("hosts") or ()],
            "GroupAdd": inputs.get("groupAdds"),
            "SecurityOpt": inputs.get("securityOpts"),
            "StorageOpt": inputs.get("storageOpts"),
            "Sysctls": inputs.get("sysctls"),
            "IpcMode": inputs.get("ipcMode"),
            "PidMode": inputs.get("pidMode"),
            "UsernsMode": inputs.get("usernsMode"),
            "CgroupnsMode": inputs.get("cgroupnsMode"),
            "CgroupParent": inputs.get("cgroupParent"),
            "Runtime": inputs.get("runtime"),
            "ShmSize": _bytes(inputs, "shmSize"),
            "LogConfig": told({"Type": inputs.get("logDriver"), "Config": inputs.get("logOpts")}),
            "DeviceCgroupRules": inputs.get("deviceCgroupRules"),
            "DeviceRequests": _device_requests(inputs),
            "Devices": [_device(d) for d in inputs.get("devices") or ()],
            "Ulimits": [
                {"Name": u["name"], "Soft": u["soft"], "Hard": u["hard"]} for u in inputs.get("ulimits") or ()
            ],
        }
    )
    if "init" in inputs:
        config["Init"] = inputs["init"]
    return {**config, **limits(inputs)}


def limits(inputs: Inputs) -> dict[str, Any]:
    """The limits that can be changed while the container runs."""
    cpus = inputs.get("cpus")
    free = not cpus  # cpus has precedence over the other two
    return told(
        {
            "Memory": _bytes(inputs, "memory"),
            "MemoryReservation": _bytes(inputs, "memoryReservation"),
            "MemorySwap": _bytes(inputs, "memorySwap"),
            "CpuShares": inputs.get("cpuShares") or None,
            "CpusetCpus": inputs.get("cpuSet"),
            "CpuPeriod": (inputs.get("cpuPeriod") or None) if free else None,
            "CpuQuota": (inputs.get("cpuQuota") or None) if free else None,
            "NanoCpus": int(Decimal(cpus) * 10**9) if cpus else None,
        }
    )


def _bytes(inputs: Inputs, name: str) -> int | None:
    """A size in MiB as bytes; nothing for none, and -1 for no limit stays what it is."""
    size = inputs.get(name) or 0
    return (size * MIB if size > 0 else size) or None


def update_body(inputs: Inputs, shown: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the update call. shown: the container as it is."""
    body = {**limits(inputs), "RestartPolicy": _restart(inputs)}
    if "Memory" in body and "MemorySwap" not in body:
        # The engine set twice the memory when it made the container, and wants both moved together.
        swaps = (shown.get("HostConfig") or {}).get("MemorySwap", 0) > 0
        body["MemorySwap"] = 2 * body["Memory"] if swaps else -1
    body.pop("NanoCpus", None)
    return body


def _restart(inputs: Inputs) -> dict[str, Any]:
    name = inputs.get("restart") or "no"
    count = inputs.get("maxRetryCount") or 0
    return {"Name": name, "MaximumRetryCount": count if name == "on-failure" else 0}


def _port(port: Inputs) -> str:
    return f"{port['internal']}/{port.get('protocol') or 'tcp'}"


def _bindings(ports: Iterable[Inputs]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        external = port.get("external")
        bindings.setdefault(_port(port), []).append(
            {"HostIp": port.get("ip") or "", "HostPort": str(external) if external else ""}
        )
    return bindings


def _is_bind(volume: Inputs) -> bool:
    return bool(volume.get("containerPath") and (volume.get("hostPath") or volume.get("volumeName")))


def _is_anonymous(volume: Inputs) -> bool:
    return bool(volume.get("containerPath")) and not _is_bind(volume)


def _bind(volume: Inputs) -> str:
    options = [o for o in ("ro" if volume.get("readOnly") else "", volume.get("selinuxRelabel") or "") if o]
    source = volume.get("volumeName") or volume["hostPath"]
    return ":".join([source, volume["containerPath"], *([",".join(options)] if options else [])])


def _from(volume: Inputs) -> str:
    return f"{volume['fromContainer']}:ro" if volume.get("readOnly") else str(volume["fromContainer"])


def _mount(mount: Inputs) -> dict[str, Any]:
    bind = mount.get("bindOptions") or {}
    tmpfs = mount.get("tmpfsOptions") or {}
    volume = mount.get("volumeOptions") or {}
    driver = told({"Name": volume.get("driverName"), "Options": volume.get("driverOptions")})
    return told(
        {
            "Target": mount["target"],
            "Type": mount["type"],
            "Source": mount.get("source"),
            "ReadOnly": mount.get("readOnly"),
            "BindOptions": told({"Propagation": bind.get("propagation")}),
            "TmpfsOptions": told({"SizeBytes": tmpfs.get("sizeBytes"), "Mode": tmpfs.get("mode")}),
            "VolumeOptions": told(
                {
                    "NoCopy": volume.get("noCopy"),
                    "Labels": labels_map(volume.get("labels")),
                    "DriverConfig": driver,
                    "Subpath": volume.get("subpath"),
                }
            ),
        }
    )


def _device(device: Inputs) -> dict[str, Any]:
    return {
        "PathOnHost": device["hostPath"],
        "PathInContainer": device.get("containerPath") or device["hostPath"],
        "CgroupPermissions": device.get("permissions") or "rwm",
    }


def _device_requests(inputs: Inputs) -> list[dict[str, Any]]:
    requests = [
        told(
            {
                "Driver": r.get("driver"),
                "Count": r.get("count"),
                "DeviceIDs": r.get("deviceIds"),
                "Capabilities": [r["capabilities"]] if r.get("capabilities") else None,
                "Options": r.get("options"),
            }
        )
        for r in inputs.get("deviceRequests") or ()
    ]
    if inputs.get("gpus"):
        requests.append({"Count": -1, "Capabilities": [["gpu"]]})
    return requests


def _healthcheck(check: Inputs) -> dict[str, Any]:
    if not check:
        return {}
    return told(
        {
            "Test": check.get("tests"),
            "Interval": nanoseconds(check.get("interval") or "0") or None,
            "Timeout": nanoseconds(check.get("timeout") or "0") or None,
            "StartPeriod": nanoseconds(check.get("startPeriod") or "0") or None,
            "Retries": check.get("retries") or None,
        }
    )


def endpoint(joined: Inputs) -> dict[str, Any]:
    """How a container takes part in one network."""
    options = [text.partition("=") for text in joined.get("driverOpts") or ()]
    return told(
        {
            "Aliases": joined.get("aliases"),
            "MacAddress": joined.get("macAddress"),
            "DriverOpts": {key: value for key, _, value in options},
            "IPAMConfig": told(
                {
                    "IPv4Address": joined.get("ipv4Address"),
                    "IPv6Address": joined.get("ipv6Address"),
                    "LinkLocalIPs": joined.get("linkLocalIps"),
                }
            ),
        }
    )
