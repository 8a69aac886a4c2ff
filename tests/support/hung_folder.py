"""A folder whose file system does not answer, as that of an NFS server that is down.

Owns: the mount, a FUSE file system that nobody serves. Promises: each look into it waits until it is let go,
at the latest at the end; then the mount is gone. Never: outlives its user.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DETACH = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


def cannot() -> str:
    """Why there can be none here; empty if there can."""
    if os.geteuid() != 0:
        return "only root may mount"
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    return ""


@contextmanager
def hung(folder: Path) -> Iterator[None]:
    """The folder does not answer inside the with."""
    folder.mkdir(parents=True, exist_ok=True)
    served_by = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={served_by},rootmode=40000,user_id=0,group_id=0".encode()
        if _LIBC.mount(b"hung", bytes(folder), b"fuse", 0, options) != 0:
            raise OSError(ctypes.get_errno(), "mount", str(folder))
        try:
            yield
        finally:
            _LIBC.umount2(bytes(folder), _DETACH)
    finally:
        os.close(served_by)  # whoever waits has an error now
