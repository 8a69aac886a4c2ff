"""Hashes of assets and archives, so that a changed file is a changed input.

Owns: the hash of what a path, text or folder holds. Promises: the same bytes give the same hash, and
Pulumi's own (sha256 of the bytes; of a folder or a map, of an archive of them). Never: fetches an address.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from tickover.engine.assetfiles import archive_digest
from tickover.engine.values import Archive, Asset, PropertyMap, Secret
from tickover.errors import ConfigError


async def hashed(inputs: PropertyMap, root: Path) -> PropertyMap:
    """inputs with the hash of each asset in it. root: what relative paths are relative to."""
    if not _has_asset(inputs):
        return inputs
    result: PropertyMap = await asyncio.to_thread(_hashed, inputs, root)
    return result


def _has_asset(value: Any) -> bool:
    match value:
        case Asset() | Archive():
            return True
        case Secret():
            return _has_asset(value.value)
        case list():
            return any(_has_asset(v) for v in value)
        case dict():
            return any(_has_asset(v) for v in value.values())
        case _:
            return False


def _hashed(value: Any, root: Path) -> Any:
    match value:
        case Secret():
            return Secret(_hashed(value.value, root))
        case list():
            return [_hashed(v, root) for v in value]
        case dict():
            return {k: _hashed(v, root) for k, v in value.items()}
        case Asset() if not value.hash:
            return _asset(value, root)
        case Archive() if not value.hash:
            return _archive(value, root)
        case _:
            return value


def _asset(asset: Asset, root: Path) -> Asset:
    if asset.path:
        return Asset(path=asset.path, hash=hashlib.sha256(_read(root / asset.path)).hexdigest())
    if asset.uri:
        return asset
    text = asset.text or ""
    return Asset(text=text, hash=hashlib.sha256(text.encode()).hexdigest())


def _archive(archive: Archive, root: Path) -> Archive:
    if archive.uri:
        return archive
    assets = archive.assets
    if assets is not None:
        assets = {name: _hashed(item, root) for name, item in assets.items()}
    found = Archive(assets, archive.path)
    try:
        return Archive(assets, archive.path, hash=archive_digest(found, root))
    except OSError as error:
        raise _unreadable(str(archive.path or ""), error) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _unreadable(path: str, error: OSError) -> ConfigError:
    return ConfigError("no-asset", "Asset cannot be read", f"{path}: {error.strerror or error}.", path)
