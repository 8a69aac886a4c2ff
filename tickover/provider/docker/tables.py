"""The resource types covered, with pulumi-docker's names, defaults and replacement rules, as tables.

Owns: which inputs exist, which can change in place, which are refused and why. Promises: data only.
Never: behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tickover.provider.docker.fields import Field, Kind, Resource

_BUILD: Final = Field(Kind.OBJECT, refused="images are built elsewhere")
_LABELS: Final = Field(
    Kind.OBJECTS,
    unordered=True,
    fields={"label": Field(required=True), "value": Field(required=True)},
)
_DURATION: Final = r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+|0"
_DURATION_SAYS: Final = 'a duration such as "500ms", "30s" or "1m30s"'


def _duration() -> Field:
    return Field(default="0s", fits=_DURATION, says=_DURATION_SAYS)


REMOTE_IMAGE: Final = Resource(
    "docker:index/remoteImage:RemoteImage",
    "RemoteImage",
    {
        "name": Field(required=True),
        "build": _BUILD,
        "forceRemove": Field(Kind.FLAG, in_place=True),
        "keepLocally": Field(Kind.FLAG, in_place=True),
        "platform": Field(),
        "pullTriggers": Field(Kind.LIST, unordered=True),
        "triggers": Field(Kind.MAP),
    },
)

TAG: Final = Resource(
    "docker:index/tag:Tag",
    "Tag",
    {
        "sourceImage": Field(required=True),
        "targetImage": Field(required=True),
        "tagTriggers": Field(Kind.LIST, unordered=True),
    },
)

AUTH_FIELDS: Final[Mapping[str, Field]] = {
    "address": Field(required=True),
    "username": Field(),
    "password": Field(secret=True),
}

REGISTRY_IMAGE: Final = Resource(
    "docker:index/registryImage:RegistryImage",
    "RegistryImage",
    {
        "name": Field(required=True),
        "authConfig": Field(Kind.OBJECT, in_place=True, fields=AUTH_FIELDS),
        "build": _BUILD,
        "insecureSkipVerify": Field(Kind.FLAG, default=False, in_place=True),
        "keepRemotely": Field(Kind.FLAG, default=False, in_place=True),
        "triggers": Field(Kind.MAP),
    },
    autonamed=True,
)

VOLUME: Final = Resource(
    "docker:index/volume:Volume",
    "Volume",
    {
        "name": Field(),
        "cluster": Field(Kind.OBJECT, refused="cluster volumes need a swarm"),
        "driver": Field(chosen=True),
        "driverOpts": Field(Kind.MAP),
        "labels": _LABELS,
    },
    autonamed=True,
)

NETWORK: Final = Resource(
    "docker:index/network:Network",
    "Network",
    {
        "name": Field(),
        "attachable": Field(Kind.FLAG),
        "driver": Field(chosen=True),
        "ingress": Field(Kind.FLAG, refused="ingress networks need a swarm"),
        "internal": Field(Kind.FLAG, chosen=True),
        "ipamConfigs": Field(
            Kind.OBJECTS,
            chosen=True,
            unordered=True,
            fields={
                "auxAddress": Field(Kind.MAP),
                "gateway": Field(),
                "ipRange": Field(),
                "subnet": Field(),
            },
        ),
        "ipamDriver": Field(default="default"),
        "ipamOptions": Field(Kind.MAP, chosen=True),
        "ipv6": Field(Kind.FLAG),
        "labels": _LABELS,
        "options": Field(Kind.MAP, chosen=True),
    },
    autonamed=True,
)

_MOUNT: Final[Mapping[str, Field]] = {
    "target": Field(required=True),
    "type": Field(required=True, fits="bind|volume|tmpfs", says="bind, volume or tmpfs"),
    "source": Field(),
    "readOnly": Field(Kind.FLAG),
    "bindOptions": Field(Kind.OBJECT, fields={"propagation": Field()}),
    "tmpfsOptions": Field(
        Kind.OBJECT, fields={"mode": Field(Kind.NUMBER), "sizeBytes": Field(Kind.NUMBER, least=0)}
    ),
    "volumeOptions": Field(
        Kind.OBJECT,
        fields={
            "driverName": Field(),
            "driverOptions": Field(Kind.MAP),
            "labels": _LABELS,
            "noCopy": Field(Kind.FLAG),
            "subpath": Field(),
        },
    ),
}
_PORT: Final[Mapping[str, Field]] = {
    "internal": Field(Kind.NUMBER, required=True, least=1),
    "external": Field(Kind.NUMBER, least=0),
    "ip": Field(default="0.0.0.0"),
    "protocol": Field(default="tcp", fits="tcp|udp|sctp", says="tcp, udp or sctp"),
}
_VOLUME_MOUNT: Final[Mapping[str, Field]] = {
    "containerPath": Field(),
    "fromContainer": Field(),
    "hostPath": Field(fits="/.*", says="an absolute path"),
    "readOnly": Field(Kind.FLAG),
    "selinuxRelabel": Field(fits="z|Z", says="z or Z"),
    "volumeName": Field(),
}
_NETWORK_JOINED: Final[Mapping[str, Field]] = {
    "name": Field(required=True),
    "aliases": Field(Kind.LIST, unordered=True),
    "driverOpts": Field(Kind.LIST),
    "gwPriority": Field(Kind.NUMBER, refused="it needs a newer Docker API"),
    "ipv4Address": Field(),
    "ipv6Address": Field(),
    "linkLocalIps": Field(Kind.LIST, unordered=True),
    "macAddress": Field(),
}
_HEALTHCHECK: Final[Mapping[str, Field]] = {
    "tests": Field(Kind.LIST),
    "interval": _duration(),
    "timeout": _duration(),
    "startPeriod": _duration(),
    "startInterval": Field(refused="it needs a newer Docker API"),
    "retries": Field(Kind.NUMBER, default=0, least=0),
}
_RATES: Final = Field(Kind.OBJECTS, refused="block device rates")

CONTAINER: Final = Resource(
    "docker:index/container:Container",
    "Container",
    {
        "image": Field(required=True),
        "name": Field(),
        "attach": Field(
            Kind.FLAG, default=False, in_place=True, refused="it would hold the deployment until the end"
        ),
        "capabilities": Field(
            Kind.OBJECT,
            fields={"adds": Field(Kind.LIST, unordered=True), "drops": Field(Kind.LIST, unordered=True)},
        ),
        "cgroupParent": Field(),
        "cgroupnsMode": Field(fits="private|host", says="private or host"),
        "command": Field(Kind.LIST),
        "containerReadRefreshTimeoutMilliseconds": Field(Kind.NUMBER, default=15000, in_place=True, least=0),
        "cpuPeriod": Field(Kind.NUMBER, in_place=True, least=0),
        "cpuQuota": Field(Kind.NUMBER, in_place=True, least=0),
        "cpuSet": Field(in_place=True, fits=r"\d+([,-]\d+)*", says='CPUs such as "0-1" or "0,2"'),
        "cpuShares": Field(Kind.NUMBER, in_place=True, least=0),
        "cpus": Field(fits=r"\d+(\.\d+)?", says='a number of CPUs such as "1.5"'),
        "destroyGraceSeconds": Field(Kind.NUMBER, in_place=True, least=0),
        "deviceCgroupRules": Field(Kind.LIST, unordered=True),
        "deviceReadBps": _RATES,
        "deviceReadIops": _RATES,
        "deviceWriteBps": _RATES,
        "deviceWriteIops": _RATES,
        "deviceRequests": Field(
            Kind.OBJECTS,
            fields={
                "capabilities": Field(Kind.LIST),
                "count": Field(Kind.NUMBER),
                "deviceIds": Field(Kind.LIST),
                "driver": Field(),
                "options": Field(Kind.MAP),
            },
        ),
        "devices": Field(
            Kind.OBJECTS,
            unordered=True,
            fields={"hostPath": Field(required=True), "containerPath": Field(), "permissions": Field()},
        ),
        "dns": Field(Kind.LIST, unordered=True),
        "dnsOpts": Field(Kind.LIST, unordered=True),
        "dnsSearches": Field(Kind.LIST, unordered=True),
        "domainname": Field(),
        "entrypoints": Field(Kind.LIST),
        "envs": Field(Kind.LIST, unordered=True),
        "gpus": Field(fits="all", says='"all"; name single GPUs in deviceRequests'),
        "groupAdds": Field(Kind.LIST, unordered=True),
        "healthcheck": Field(Kind.OBJECT, fields=_HEALTHCHECK),
        "hostname": Field(chosen=True),
        "hosts": Field(
            Kind.OBJECTS, unordered=True, fields={"host": Field(required=True), "ip": Field(required=True)}
        ),
        "init": Field(Kind.FLAG, chosen=True),
        "ipcMode": Field(chosen=True),
        "labels": _LABELS,
        "logDriver": Field(chosen=True),
        "logOpts": Field(Kind.MAP),
        "logs": Field(Kind.FLAG, default=False, in_place=True, refused="it goes with attach"),
        "maxRetryCount": Field(Kind.NUMBER, in_place=True, least=0),
        "memory": Field(Kind.NUMBER, in_place=True, least=0),
        "memoryReservation": Field(Kind.NUMBER, in_place=True, least=0),
        "memorySwap": Field(Kind.NUMBER, in_place=True, least=-1),
        "mounts": Field(Kind.OBJECTS, unordered=True, fields=_MOUNT),
        "mustRun": Field(Kind.FLAG, default=True, in_place=True),
        "networkMode": Field(default="bridge"),
        "networksAdvanced": Field(Kind.OBJECTS, unordered=True, fields=_NETWORK_JOINED),
        "pidMode": Field(),
        "platform": Field(refused="it needs a newer Docker client"),
        "ports": Field(Kind.OBJECTS, unordered=True, fields=_PORT),
        "privileged": Field(Kind.FLAG),
        "publishAllPorts": Field(Kind.FLAG),
        "readOnly": Field(Kind.FLAG, default=False),
        "removeVolumes": Field(Kind.FLAG, default=True, in_place=True),
        "restart": Field(
            default="no",
            in_place=True,
            fits="no|on-failure|always|unless-stopped",
            says="no, on-failure, always or unless-stopped",
        ),
        "rm": Field(Kind.FLAG, default=False, in_place=True),
        "runtime": Field(chosen=True),
        "securityOpts": Field(Kind.LIST, unordered=True, chosen=True),
        "shmSize": Field(Kind.NUMBER, least=0, chosen=True),
        "start": Field(Kind.FLAG, default=True, in_place=True),
        "stdinOpen": Field(Kind.FLAG, default=False),
        "stopSignal": Field(chosen=True),
        "stopTimeout": Field(Kind.NUMBER, chosen=True),
        "storageOpts": Field(Kind.MAP),
        "sysctls": Field(Kind.MAP),
        "tmpfs": Field(Kind.MAP),
        "tty": Field(Kind.FLAG, default=False),
        "ulimits": Field(
            Kind.OBJECTS,
            unordered=True,
            fields={
                "name": Field(required=True),
                "soft": Field(Kind.NUMBER, required=True),
                "hard": Field(Kind.NUMBER, required=True),
            },
        ),
        "uploads": Field(Kind.OBJECTS, refused="mount a volume or a host path instead"),
        "user": Field(),
        "usernsMode": Field(),
        "volumes": Field(Kind.OBJECTS, unordered=True, fields=_VOLUME_MOUNT),
        "wait": Field(Kind.FLAG, default=False, in_place=True),
        "waitTimeout": Field(Kind.NUMBER, default=60, in_place=True, least=0),
        "workingDir": Field(),
    },
    autonamed=True,
)

# What the real plugin has and this provider has not, for a refusal by name.
REFUSED: Final[Mapping[str, str]] = {
    "docker:index/image:Image": "images are built elsewhere",
    "docker:index/buildxBuilder:BuildxBuilder": "images are built elsewhere",
    "docker:index/service:Service": "services need a swarm",
    "docker:index/serviceConfig:ServiceConfig": "service configs need a swarm",
    "docker:index/secret:Secret": "secrets of services need a swarm",
    "docker:index/plugin:Plugin": "plugins change the engine itself",
}
