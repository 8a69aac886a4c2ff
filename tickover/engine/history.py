"""The history of a stack: one record an update, in the CLI's form.

Owns: `UpdateRecord` and its JSON. Promises: records of either tool are read. Never: writes files.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tickover.engine.statevalue import dumps
from tickover.errors import TickoverError


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """kind: update | refresh | destroy | import. result: succeeded | failed. Times: Unix seconds.

    config: as in the stack's file, secrets as ``{"secure": ciphertext}``.
    """

    kind: str
    start_time: int
    end_time: int
    result: str
    message: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    resource_changes: Mapping[str, int] = field(default_factory=dict)


def record_json(record: UpdateRecord) -> str:
    """The text of a ``.history.json`` file."""
    return dumps(
        {
            "kind": record.kind,
            "startTime": record.start_time,
            "message": record.message,
            "environment": dict(sorted(record.environment.items())),
            "config": dict(sorted(record.config.items())),
            "result": record.result,
            "endTime": record.end_time,
            "resourceChanges": dict(sorted(record.resource_changes.items())),
        }
    )


def history_files(folder: Path) -> list[Path]:
    """The records in folder, the newest first (their names hold the time)."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.name.endswith((".history.json", ".history.json.gz"))]
    return sorted(found, key=lambda p: p.name, reverse=True)


def read_history(path: Path) -> UpdateRecord:
    """The record in a ``.history.json`` file. Raises TickoverError if it is none."""
    return parse_history(path.name, path.read_bytes())


def parse_history(name: str, data: bytes) -> UpdateRecord:
    """The record of this content. Raises TickoverError if it is none."""
    try:
        raw = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        return UpdateRecord(
            kind=str(raw["kind"]),
            start_time=int(raw.get("startTime") or 0),
            end_time=int(raw.get("endTime") or 0),
            result=str(raw.get("result") or ""),
            message=str(raw.get("message") or ""),
            environment=raw.get("environment") or {},
            config=raw.get("config") or {},
            resource_changes=raw.get("resourceChanges") or {},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TickoverError(
            "bad-history", "History cannot be read", f"{name} is no update record.", address=name
        ) from error
