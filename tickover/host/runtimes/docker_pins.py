"""Which image a spec was first started with, kept on disk: a tag may name another one tomorrow.

Owns: the file `images.json` of a host. Promises: a pin is on disk when `__setitem__` returns, whatever
ends the host; a file that cannot be read is told and begun anew. Never: asks a registry.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

MOST: Final = 1000  # specs that were changed long ago are forgotten first


class FilePins(MutableMapping[str, str]):
    """spec digest → image, the oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pins = _read(path)

    def __getitem__(self, key: str) -> str:
        return self._pins[key]

    def __setitem__(self, key: str, value: str) -> None:
        if self._pins.get(key) == value:
            return
        self._pins.pop(key, None)
        self._pins[key] = value
        while len(self._pins) > MOST:
            del self._pins[next(iter(self._pins))]
        self._write()

    def __delitem__(self, key: str) -> None:
        del self._pins[key]
        self._write()

    def __iter__(self) -> Iterator[str]:
        return iter(self._pins)

    def __len__(self) -> int:
        return len(self._pins)

    def _write(self) -> None:
        """A disk that is full costs the pin, not the instance."""
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(self._pins, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            log.warning("a pinned image was not written down", file=str(self._path), error=str(error))


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("pinned images cannot be read and are resolved anew", file=str(path), error=str(error))
        return {}
    if not isinstance(found, dict):
        log.warning("pinned images cannot be read and are resolved anew", file=str(path), error="no object")
        return {}
    return {str(key): str(value) for key, value in found.items()}
