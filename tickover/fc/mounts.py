"""Network and file systems of a function: VPC, NAS, OSS, PolarFs, JuiceFs.

Owns: where files come from and through which network. Promises: FC's names and limits; no two mounts share
a folder. Never: mounts anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import Field, StrictBool

from tickover.fc.base import FcModel, Wire
from tickover.fc.limits import Choice, Text, Whole

MAX_MOUNTS: Final = 5
UserId = Annotated[int | None, Whole(0, 65534)]
GroupId = Annotated[int | None, Whole(0, 65534)]
MountDir = Annotated[
    str,
    Text(
        2,
        1024,
        r"(/(?!\.\.?(/|$))[^/\s]+)+/?",
        "be an absolute path of a folder below /, without .. in it",
    ),
]
# Folders that a mount would break.
RESERVED_DIRS: Final = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
    "/var",
)


def _needs_a_switch(wire: Wire) -> Iterator[tuple[str, str]]:
    if wire.get("vSwitchIds") == []:
        yield "vSwitchIds", "must name at least one vSwitch"


class VpcConfig(FcModel):
    """The function's own network. vSwitches need at least two free addresses."""

    vpc_id: Annotated[str, Text(1, 128)]
    v_switch_ids: list[str]
    security_group_id: Annotated[str, Text(1, 128)]
    role: str | None = None

    rules = (_needs_a_switch,)


class NasMountPoint(FcModel):
    """server_addr: ``<mount target>:/path``; ``local:/path`` is a tickover host's own NAS folder."""

    server_addr: Annotated[
        str,
        Text(
            1,
            1024,
            r"[A-Za-z0-9][A-Za-z0-9._-]*:/\S*",
            "be <mount target>:/path, for example abc123-x.cn-hangzhou.nas.aliyuncs.com:/models",
        ),
    ]
    mount_dir: MountDir
    enable_tls: StrictBool | None = Field(default=None, alias="enableTLS")


def distinct_dirs(wire: Wire) -> Iterator[tuple[str, str]]:
    """No two mount points of one config in one folder, none over a system folder, five at most."""
    points = [p if isinstance(p, dict) else {} for p in wire.get("mountPoints") or ()]
    if len(points) > MAX_MOUNTS:
        yield "mountPoints", f"must have at most {MAX_MOUNTS} mount points, but has {len(points)}"
    seen: dict[str, int] = {}
    for index, point in enumerate(points):
        if "mountDir" not in point:
            continue
        folder = str(PurePosixPath(point["mountDir"]))
        if folder in RESERVED_DIRS:
            yield f"mountPoints[{index}].mountDir", f"must not be the system folder {folder}"
        if folder in seen:
            yield (
                f"mountPoints[{index}].mountDir",
                f"must differ from mountPoints[{seen[folder]}].mountDir, but both are {folder}",
            )
        seen.setdefault(folder, index)


class NasConfig(FcModel):
    """NFS file systems; the function must be in their VPC."""

    user_id: UserId = None
    group_id: GroupId = None
    mount_points: list[NasMountPoint] | None = None

    rules = (distinct_dirs,)
    defaults = {"userId": 0, "groupId": 0}  # noqa: RUF012 - read-only, typed in FcModel


class OssMountPoint(FcModel):
    bucket_name: Annotated[
        str, Text(3, 63, r"[a-z0-9][a-z0-9-]*[a-z0-9]", "be lower-case letters, digits and - inside")
    ]
    bucket_path: str | None = None
    endpoint: str | None = None
    mount_dir: MountDir
    read_only: StrictBool | None = None


class OssMountConfig(FcModel):
    mount_points: list[OssMountPoint] | None = None

    rules = (distinct_dirs,)


class PolarFsMountPoint(FcModel):
    instance_id: str | None = None
    mount_dir: MountDir
    remote_dir: str | None = None
    read_only: StrictBool | None = None
    extra_options: str | None = None


class PolarFsConfig(FcModel):
    user_id: UserId = None
    group_id: GroupId = None
    mount_points: list[PolarFsMountPoint] | None = None

    rules = (distinct_dirs,)


class JuiceFsMountPoint(FcModel):
    volume_name: str | None = None
    token: str | None = Field(default=None, repr=False)
    mount_dir: MountDir
    remote_dir: str | None = None
    args: list[str] | None = None


class JuiceFsConfig(FcModel):
    envs: dict[str, str] | None = Field(default=None, repr=False)
    mount_points: list[JuiceFsMountPoint] | None = None

    rules = (distinct_dirs,)


class DnsOption(FcModel):
    name: Annotated[str, Text(1)]
    value: str | None = None


class CustomDns(FcModel):
    name_servers: list[str] | None = None
    searches: list[str] | None = None
    dns_options: list[DnsOption] | None = None


class TracingConfig(FcModel):
    type: Annotated[str | None, Choice("Jaeger")] = None
    params: dict[str, str] | None = None
