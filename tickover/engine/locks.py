"""Stack locks, the files that the Pulumi CLI writes and honours.

Owns: ``.pulumi/locks/organization/<project>/<stack>/<uuid>.json``. Promises: at most one operation of
either tool holds a stack; a refusal says who, since when, with what, and how to break it; a lock whose
process on this machine is dead is removed with a notice. Never: waits.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from tickover.engine.files import remove, state_errors, write_atomic
from tickover.engine.statevalue import rfc3339
from tickover.errors import TickoverError


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock. started: the process's start in clock ticks, 0 where the writer did not say."""

    path: Path
    pid: int = 0
    username: str = "?"
    hostname: str = "?"
    timestamp: str = "?"
    command: str = ""
    started: int = 0

    def __str__(self) -> str:
        what = f", running `{self.command}`" if self.command else ""
        return f"{self.username}@{self.hostname} (pid {self.pid}) since {self.timestamp}{what}"


@dataclass(frozen=True, slots=True)
class StackLock:
    """A held lock; a context manager that gives it back. notices: stale locks that were removed.

    give_back: how, where the lock is not just a file.
    """

    path: Path
    notices: tuple[str, ...] = field(default=())
    give_back: Callable[[], object] | None = None

    def release(self) -> None:
        """Gives the lock back; a lock that somebody broke meanwhile is no error."""
        if self.give_back is not None:
            self.give_back()
        else:
            remove(self.path)

    def __enter__(self) -> StackLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_folder(root: Path, project: str, stack: str) -> Path:
    """root: the folder that holds ``.pulumi``."""
    return root / ".pulumi" / "locks" / "organization" / project / stack


def process_start(pid: int) -> int:
    """When pid started, in clock ticks since boot; 0 if it does not live or cannot be asked."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else 0


def is_alive(pid: int) -> bool:
    """True if a process with this id lives on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def is_stale(
    holder: Holder,
    hostname: str,
    alive: Callable[[int], bool] = is_alive,
    start: Callable[[int], int] = process_start,
) -> bool:
    """True if holder's process certainly ended: same machine, and no such process or a younger one."""
    if holder.hostname != hostname or holder.pid <= 0:
        return False
    if not alive(holder.pid):
        return True
    return bool(holder.started and (now := start(holder.pid)) and now != holder.started)


def acquire(root: Path, project: str, stack: str, command: str) -> StackLock:
    """Takes the stack's lock as the CLI does: look, write, look again. Raises TickoverError if held."""
    folder = lock_folder(root, project, stack)
    notices = _clear(folder, project, stack, own=None)
    path = folder / f"{uuid.uuid4()}.json"
    _write(path, command)
    try:
        _clear(folder, project, stack, own=path)
    except TickoverError:
        remove(path)
        raise
    return StackLock(path, notices)


def holders(root: Path, project: str, stack: str) -> tuple[Holder, ...]:
    """Every lock on the stack, by file name."""
    return _read_all(lock_folder(root, project, stack))


def others_running(root: Path, project: str, stack: str) -> tuple[Holder, ...]:
    """Holders of the stack's lock that may still live, this process left out."""
    return still_running(holders(root, project, stack))


def still_running(found: Sequence[Holder]) -> tuple[Holder, ...]:
    """Those of found that may still live, this process left out."""
    hostname, own = socket.gethostname(), os.getpid()
    return tuple(h for h in found if not is_stale(h, hostname) and (h.hostname, h.pid) != (hostname, own))


def break_locks(root: Path, project: str, stack: str) -> tuple[Holder, ...]:
    """Removes every lock on the stack, and says whose they were."""
    found = holders(root, project, stack)
    for holder in found:
        remove(holder.path)
    return found


def _clear(folder: Path, project: str, stack: str, own: Path | None) -> tuple[str, ...]:
    hostname = socket.gethostname()
    others = [h for h in _read_all(folder) if h.path != own]
    stale = [h for h in others if is_stale(h, hostname)]
    for holder in stale:
        remove(holder.path)
    if held := [h for h in others if h not in stale]:
        raise held_error(held, stack)
    return tuple(stale_notice(h) for h in stale)


def stale_notice(holder: Holder) -> str:
    return f"Removed a stale lock: {holder} has ended."


def held_error(held: Sequence[Holder], stack: str) -> TickoverError:
    """Who holds the stack, since when, with what, and how to break the lock."""
    who = "\n".join(f"  {holder}" for holder in held)
    return TickoverError(
        "stack-locked",
        "Stack is locked",
        f"Another operation holds {stack}:\n{who}\n"
        "Wait for it to end. If you are sure that it is gone, break the lock:",
        address=stack,
        hint=f"tickover cancel -s {stack}",
        retry_after_seconds=5.0,
    )


def content_of(command: str) -> bytes:
    """What a lock of this process says."""
    content: dict[str, Any] = {
        "pid": os.getpid(),
        "username": _username(),
        "hostname": socket.gethostname(),
        "timestamp": rfc3339(datetime.now(UTC)),
        # Ours; the CLI ignores what it does not know.
        "command": command,
        "started": process_start(os.getpid()),
    }
    return json.dumps(content, separators=(",", ":")).encode("utf-8")


def _write(path: Path, command: str) -> None:
    # The temporary file must not lie in the folder of the locks: any file in there counts as one.
    staging = path.parent.parent / f"{path.stem}.new"
    write_atomic(staging, content_of(command))
    with state_errors(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging, path)


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without an entry in the password file
        return f"uid-{os.getuid()}"


def _read_all(folder: Path) -> tuple[Holder, ...]:
    with state_errors(folder, "read"):
        try:
            paths = sorted(p for p in folder.iterdir() if p.suffix == ".json")
        except FileNotFoundError:
            return ()
    found = (_read(path) for path in paths)
    return tuple(holder for holder in found if holder is not None)


def _read(path: Path) -> Holder | None:
    """A lock that cannot be understood is a lock all the same; one that went meanwhile is None."""
    try:
        return parse_holder(path, path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError:
        return Holder(path=path)


def parse_holder(path: Path, data: bytes) -> Holder:
    """The lock of this content; a lock that cannot be understood is a lock all the same."""
    try:
        raw = json.loads(data)
        return Holder(
            path=path,
            pid=int(raw.get("pid") or 0),
            username=str(raw.get("username") or "?"),
            hostname=str(raw.get("hostname") or "?"),
            timestamp=str(raw.get("timestamp") or "?"),
            command=str(raw.get("command") or ""),
            started=int(raw.get("started") or 0),
        )
    except (ValueError, TypeError, AttributeError):
        return Holder(path=path)
