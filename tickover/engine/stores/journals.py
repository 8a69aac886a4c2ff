"""Where the journal of a stack lies: beside a state in a folder; on this machine and in the bucket otherwise.

Owns: the leftover of an interrupted operation, until its state is saved. Promises: a bucket's journal is on
this machine's disk at every byte, and in the bucket group by group, so that another machine can go on; of the
two the longer counts; what one machine recovered the other does not report again. Never: reads a resource.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from tickover.engine import journal as journals
from tickover.engine.files import remove, state_errors
from tickover.engine.stores import Store
from tickover.errors import TickoverError

# After a push that failed: how long the operation goes on without trying again.
_PAUSE_SECONDS: Final = 5.0
_ALL: Final = 2**62


class StackJournals(Protocol):
    """The journals of one stack."""

    path: Path

    def find(self, digest: str) -> tuple[bytes, str]:
        """The journal that matters to the state of digest, and where it lies; empty if there is none."""

    def commit_leftover(self, present: Callable[[], str], digest: str) -> bool:
        """Before the state of digest is written without a journal: notes that it holds what a crashed
        operation left. present: the digest of the state before. False: the leftover continues another
        state, so it must be kept."""

    def clear(self) -> None:
        """After a save: the journal is no longer needed."""

    def set_aside(self, stamp: int) -> None:
        """Keeps a leftover for a person, out of the way of the next journal."""

    def copy(self) -> journals.Copy | None:
        """Where a new journal's lines go besides path."""


def _is_held(entries: list[dict[str, Any]], digest: str) -> bool:
    """True if the state of digest holds what the journal says, or is the one that it continues."""
    if not journals.has_steps(entries):
        return True
    return digest == journals.base_digest(entries) or digest in journals.committed_digests(entries)


def _contents(path: Path) -> bytes:
    with state_errors(path, "read"):
        return path.read_bytes() if path.is_file() else b""


def _rename(path: Path, stamp: int) -> None:
    with state_errors(path, "moved"):
        if path.exists():
            path.replace(path.with_name(f"{path.name}.{stamp}"))


class FolderJournals:
    """One file beside the state."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, digest: str) -> tuple[bytes, str]:
        return _contents(self.path), str(self.path)

    def commit_leftover(self, present: Callable[[], str], digest: str) -> bool:
        if not self.path.exists():
            return True
        if not _is_held(journals.parse(_contents(self.path)), present()):
            return False
        journals.commit_file(self.path, digest)
        return True

    def clear(self) -> None:
        remove(self.path)

    def set_aside(self, stamp: int) -> None:
        _rename(self.path, stamp)

    def copy(self) -> journals.Copy | None:
        return None


class SharedJournals:
    """A spool file on this machine, and the objects ``<prefix>/<run>-<number>``.

    ``<prefix>/<run>.ended`` says how many bytes of a run another machine has brought into which state.
    """

    def __init__(self, path: Path, store: Store, prefix: str) -> None:
        self.path = path
        self._store = store
        self._prefix = prefix

    def find(self, digest: str) -> tuple[bytes, str]:
        """The longest that continues the state of digest, else the longest that nobody brought in."""
        found = self._candidates()
        fitting = [item for item in found if _is_held(journals.parse(item[0]), digest)]
        ended = self._ended()
        others = [
            item for item in found
            if len(item[0]) > ended.get(journals.run_of(journals.parse(item[0])), 0)
        ]  # fmt: skip
        # One that was committed to the present state ends the search as well as one to be replayed.
        return max(fitting or others, key=lambda item: len(item[0]), default=(b"", str(self.path)))

    def _candidates(self) -> list[tuple[bytes, str]]:
        """Every journal with steps: by run, the longer of what lies here and there."""
        runs = {
            run: (data, self._store.place(f"{self._prefix}/{run}-…")) for run, data in self._remote().items()
        }
        local = _whole(_contents(self.path))
        run = journals.run_of(journals.parse(local))
        if len(local) >= len(runs.get(run, (b"", ""))[0]):
            runs[run] = (local, str(self.path))
        return [item for item in runs.values() if journals.has_steps(journals.parse(item[0]))]

    def _remote(self) -> dict[str, bytes]:
        """The runs in the store, each as far as it is there without a gap."""
        runs: dict[str, bytes] = {}
        counts: dict[str, int] = {}
        for key in self._store.list(self._prefix):
            run, dash, number = key.rpartition("/")[2].rpartition("-")
            if dash and number.isdigit() and int(number) == counts.get(run, 0):
                if (blob := self._store.read(key)) is None:
                    continue
                runs[run] = runs.get(run, b"") + blob.data
                counts[run] = counts.get(run, 0) + 1
        return {run: _whole(data) for run, data in runs.items()}

    def _ended(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for key in self._store.list(self._prefix):
            if key.endswith(".ended") and (blob := self._store.read(key)) is not None:
                try:
                    found[key.rpartition("/")[2].removesuffix(".ended")] = int(json.loads(blob.data)["bytes"])
                except (ValueError, KeyError, TypeError) as error:
                    place = self._store.place(key)
                    raise TickoverError(
                        "bad-journal", "Journal cannot be read", f"{place} is no record of a journal's end."
                    ) from error
        return found

    def commit_leftover(self, present: Callable[[], str], digest: str) -> bool:
        now: str | None = None
        ended = self._ended()
        kept = False
        for data, _ in self._candidates():
            entries = journals.parse(data)
            now = present() if now is None else now
            if _is_held(entries, now):
                self._end(journals.run_of(entries), len(data), digest)
            elif len(data) > ended.get(journals.run_of(entries), 0):
                kept = True
        return not kept

    def _end(self, run: str, size: int, digest: str) -> None:
        document = {"bytes": size, "digest": digest}
        self._store.write(f"{self._prefix}/{run}.ended", json.dumps(document).encode("utf-8"))

    def clear(self) -> None:
        """The marks of runs that began elsewhere stay: the machine that began them may come back."""
        own = journals.run_of(journals.parse(_contents(self.path)))
        remove(self.path)
        for key in self._store.list(self._prefix):
            if not key.endswith(".ended") or key.endswith(f"/{own}.ended"):
                self._store.delete(key)

    def set_aside(self, stamp: int) -> None:
        for data, _ in self._candidates():
            self._end(journals.run_of(journals.parse(data)), _ALL, "")
        _rename(self.path, stamp)

    def copy(self) -> journals.Copy | None:
        return _Pushed(self._store, self._prefix)


class _Pushed:
    """The lines of one run, as numbered objects."""

    def __init__(self, store: Store, prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = uuid.uuid4().hex
        self._store = store
        self._prefix = prefix
        self._clock = clock
        self._sent = 0
        self._number = 0
        self._not_before = 0.0

    def follow(self, path: Path, end: int, strictly: bool) -> None:
        if end <= self._sent or (not strictly and self._clock() < self._not_before):
            return
        with state_errors(path, "read"), open(path, "rb") as stream:
            stream.seek(self._sent)
            data = stream.read(end - self._sent)
        try:
            self._store.write(f"{self._prefix}/{self.run}-{self._number:08d}", data)
        except TickoverError:
            if strictly:
                raise
            # The lines are safe on this machine, and go with the next group; the work goes on.
            self._not_before = self._clock() + _PAUSE_SECONDS
            return
        self._sent, self._number = end, self._number + 1


def _whole(data: bytes) -> bytes:
    """data without a torn last line."""
    return data[: data.rfind(b"\n") + 1]


def spool_folder(where: str, env: Mapping[str, str]) -> Path:
    """Where this machine keeps the journals of the store at where, in the user's data folder."""
    data = env.get("XDG_DATA_HOME") or str(Path(env.get("HOME") or Path.home()) / ".local/share")
    return Path(data) / "tickover" / "spool" / hashlib.sha256(where.encode("utf-8")).hexdigest()[:24]
