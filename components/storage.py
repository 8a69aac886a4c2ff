"""NasMount: the folder with the models, apart from the image.

Owns: the pair of a NAS path and where instances see it. Promises: `wire` is FC's nasConfig. Never: mounts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import pulumi

from tickover.errors import ConfigError

from .checks import required

_SERVER: Final = re.compile(r"[\w.-]+:/.*")


@dataclass(frozen=True, slots=True)
class NetworkArgs:
    """The VPC that the NAS is in; needed on the cloud."""

    vpc_id: str
    vswitch_ids: tuple[str, ...]
    security_group_id: str

    def wire(self) -> dict[str, Any]:
        """FC's vpcConfig."""
        return {
            "vpcId": self.vpc_id,
            "vSwitchIds": list(self.vswitch_ids),
            "securityGroupId": self.security_group_id,
        }


@dataclass(frozen=True, slots=True)
class NasMountArgs:
    """server_address: ``<mount target>:/path``; ``local:/models`` is a folder of the host's own NAS.

    mount_dir: absolute path inside instances.
    """

    server_address: str
    mount_dir: str = "/mnt/models"
    network: NetworkArgs | None = None
    user_id: int = 0
    group_id: int = 0


class NasMount(pulumi.ComponentResource):
    """A NAS folder mounted into every instance."""

    def __init__(self, name: str, args: NasMountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        required(name, server_address=args.server_address, mount_dir=args.mount_dir)
        _check(name, args)
        props = {"serverAddr": args.server_address, "mountDir": args.mount_dir}
        super().__init__("tickover:index:NasMount", name, props, opts)
        self.args = args
        self.mount_dir = args.mount_dir
        self.register_outputs(props)

    def path(self, relative: str) -> str:
        """Where instances see a file or folder of this NAS folder."""
        return str(PurePosixPath(self.mount_dir) / relative)

    def wire(self) -> dict[str, Any]:
        """FC's nasConfig."""
        return {
            "userId": self.args.user_id,
            "groupId": self.args.group_id,
            "mountPoints": [{"serverAddr": self.args.server_address, "mountDir": self.args.mount_dir}],
        }

    def network_wire(self) -> dict[str, Any] | None:
        """FC's vpcConfig, if the NAS has a network."""
        return self.args.network.wire() if self.args.network else None


def _check(name: str, args: NasMountArgs) -> None:
    problem = ""
    if not _SERVER.fullmatch(args.server_address):
        problem = f"`server_address` must be <mount target>:/path or local:/path, not {args.server_address!r}"
    elif not args.mount_dir.startswith("/") or PurePosixPath(args.mount_dir) == PurePosixPath("/"):
        problem = f"`mount_dir` must be an absolute path below /, not {args.mount_dir!r}"
    if problem:
        raise ConfigError("bad-nas", "NAS mount is not valid", f"{name}: {problem}.", address=name)
