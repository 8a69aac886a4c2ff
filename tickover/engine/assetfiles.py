"""The byte stream whose hash stands for an archive.

Owns: the tar form of folders and maps of assets. Promises: names sorted, no times, owners or modes in it: the
same content gives the same digest anywhere. Never: writes a file.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tickover.engine.values import Archive, Asset

_ARCHIVES: Final = (".tar", ".tgz", ".tar.gz", ".zip", ".jar")
_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
_CHECKSUM: Final = slice(148, 156)
_DEVICES: Final = slice(329, 345)


def archive_digest(archive: Archive, root: Path) -> str:
    """sha256 hex of what archive holds. Raises OSError."""
    if archive.path and archive.path.endswith(_ARCHIVES):
        return _file_digest(root / archive.path)
    digest = hashlib.sha256()
    for name, content in _members(archive, root, ""):
        digest.update(_header(name, len(content)))
        digest.update(content)
        digest.update(b"\0" * (-len(content) % _BLOCK))
    digest.update(b"\0" * (2 * _BLOCK))
    return digest.hexdigest()


def _header(name: str, size: int) -> bytes:
    """The header of a member as Go writes it, with device numbers even for a file."""
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o600, size
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape"))
    header[_DEVICES] = b"0000000\0" * 2
    header[_CHECKSUM] = b" " * 8
    header[_CHECKSUM] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _members(archive: Archive, root: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    if archive.assets is not None:
        for name in sorted(archive.assets):
            item = archive.assets[name]
            if isinstance(item, Archive):
                yield from _members(item, root, f"{prefix}{name}/")
            elif isinstance(item, Asset):
                yield f"{prefix}{name}", _content(item, root)
    elif archive.path:
        yield from _folder(root / archive.path, prefix)


def _content(asset: Asset, root: Path) -> bytes:
    return (root / asset.path).read_bytes() if asset.path else (asset.text or "").encode()


def _folder(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if path.is_dir():
            yield from _folder(path, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", path.read_bytes()
