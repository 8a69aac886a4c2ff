"""The mounts of a container instance: folders of this machine, NFS exports, named volumes.

Owns: what each NAS address becomes in the engine's create call. Promises: pure but for looking at which
folders exist; all of them are read-only; a volume's name tells what is in it, so that two functions with one
export share it. Never: calls the engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tickover.fc.function import Function
from tickover.fc.mounts import NasMountPoint
from tickover.host.nas import NamedVolume, NfsExport, nas_source
from tickover.host.runtimes.base import RuntimeFailed

# NFS 3 is what FC mounts, and needs no lock service where nothing is written. A server that is down is an
# error after about a minute (10 s, sent again with longer waits), never a model server that hangs for ever:
# nothing is written, so nothing can be lost by it.
NFS_OPTIONS: Final = "ro,nfsvers=3,proto=tcp,nolock,soft,timeo=100,retrans=2,noresvport"
_DIGEST_LENGTH: Final = 16


def mounts(spec: Function, nas: Mapping[str, Path], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The mounts of a function. labels: of the volumes that are made. Raises RuntimeFailed."""
    points = (spec.nas_config.mount_points if spec.nas_config else None) or ()
    return [_mount(point, nas, labels) for point in points]


def _mount(point: NasMountPoint, nas: Mapping[str, Path], labels: Mapping[str, str]) -> dict[str, Any]:
    target = point.mount_dir.rstrip("/")
    if not target.startswith("/"):
        raise RuntimeFailed(f"mountDir '{point.mount_dir}' is not a folder below /")
    seen = {"Target": target, "ReadOnly": True}
    match nas_source(point.server_addr, nas):
        case Path() as folder:
            if not folder.is_dir():
                raise RuntimeFailed(
                    f"the NAS folder {folder} of {point.server_addr} does not exist on this host"
                )
            return {"Type": "bind", "Source": str(folder.resolve()), **seen}
        case NfsExport() as export:
            if point.enable_tls:
                raise RuntimeFailed(
                    f"enableTLS of {point.server_addr}: a Docker engine mounts NFS without TLS; mount it on "
                    "this machine and name the folder: tickover host start --nas NAME=DIR"
                )
            return {"Type": "volume", **seen, **_nfs_volume(export, labels)}
        case NamedVolume(name):
            return {"Type": "volume", "Source": name, **seen, "VolumeOptions": {"NoCopy": True}}
        case trouble:
            raise RuntimeFailed(trouble)


def _nfs_volume(export: NfsExport, labels: Mapping[str, str]) -> dict[str, Any]:
    options = {"type": "nfs", "o": f"addr={export.server},{NFS_OPTIONS}", "device": f":{export.path}"}
    text = json.dumps([options, sorted(labels.items())])
    name = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    return {
        "Source": f"tickover-nfs-{name}",
        # NoCopy: nothing of the image is put into somebody's export.
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": dict(labels),
            "DriverConfig": {"Name": "local", "Options": options},
        },
    }


def named_volumes(body: Mapping[str, Any]) -> list[str]:
    """The volumes of a create call that have to be there before; the engine would make empty ones."""
    found = body["HostConfig"]["Mounts"]
    return [
        mount["Source"]
        for mount in found
        if mount["Type"] == "volume" and "DriverConfig" not in mount["VolumeOptions"]
    ]
