"""`tickover host start|upgrade|stop|status`: the host as a background process.

Owns: spawning the host detached and ending it. Promises: start returns once the host answers, or says why
it cannot; stop leaves no process of the host; only the host's own process is ever signalled. Never: talks
to instances.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tickover.errors import Exit, TickoverError, error_from_json
from tickover.host.client import AdminClient, host_not_running, read_host_file
from tickover.host.folder import open_lock, prepare, unwritable
from tickover.host.main import parse_nas
from tickover.host.ports import check_listen
from tickover.paths import host_dir

START_SECONDS = 60.0
UPGRADE_SECONDS = 120.0
STOP_SECONDS = 40.0
KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A host that answers. note: what the user should know (a port that changed, say)."""

    pid: int
    url: str
    version: str
    started_at: str
    already_running: bool = False
    note: str = ""

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def start_host(
    home: Path,
    port: int | None = None,
    *,
    listen_host: str = "127.0.0.1",
    nas: Mapping[str, Path] | None = None,
    allow_remote: bool = False,
    tls_port: int | None = None,
    deadline_seconds: float = START_SECONDS,
) -> HostInfo:
    """Start the host in the background, or return the one that runs. Raises TickoverError."""
    running = host_status(home)
    if running is not None:
        return _running_as(running, home, port, tls_port)
    check_listen(listen_host, allow_remote=allow_remote)
    prepare(home)
    command = [
        sys.executable,
        "-m",
        "tickover.host.main",
        "run",
        "--home",
        str(home),
        "--listen",
        listen_host,
    ]
    if port is not None:
        command += ["--port", str(port)]
    if tls_port is not None:
        command += ["--tls-port", str(tls_port)]
    for name, folder in (nas or {}).items():
        command += ["--nas", f"{name}={folder}"]
    if allow_remote:
        command.append("--allow-remote")
    log_path = host_dir(home) / "host.log"
    child, pipe = _spawn(command, log_path)
    answer = _answer_of(child, pipe, log_path, deadline_seconds)
    if "error" in answer:
        child.wait(KILL_SECONDS)
        error = error_from_json(answer["error"])
        if error.code == "host-running" and (other := host_status(home)) is not None:
            return _running_as(other, home, port, tls_port)  # somebody else has started it at the same moment
        raise error
    child.returncode = 0  # it lives on by itself: not a child that was forgotten
    return _info(answer, already_running=False)


def upgrade_host(home: Path, max_age_seconds: float, deadline_seconds: float = UPGRADE_SECONDS) -> HostInfo:
    """Replace the running host by one of this program, with no request lost. Raises TickoverError."""
    former = host_status(home)
    if former is None:
        raise host_not_running(home)
    log_path = host_dir(home) / "host.log"
    command = [sys.executable, "-m", "tickover.host.main", "run", "--home", str(home), "--take-over"]
    child, pipe = _spawn([*command, "--max-age-seconds", str(max_age_seconds)], log_path)
    answer = _answer_of(child, pipe, log_path, deadline_seconds)
    if "error" in answer:
        child.wait(KILL_SECONDS)
        raise error_from_json(answer["error"])
    child.returncode = 0
    return _info(answer, already_running=False)


def stop_host(home: Path, *, keep_instances: bool = False) -> bool:
    """Stop the host and wait until it is gone; False if none was running. Raises TickoverError."""
    pid = host_holder(home)
    if pid is None:
        return False
    patience = STOP_SECONDS
    with contextlib.suppress(TickoverError):  # a host that does not answer is told by signal below
        # Its instances may have hooks that take their time.
        patience = max(STOP_SECONDS, AdminClient(home).shutdown(keep_instances))
        if _wait_gone(home, pid, patience):
            return True
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        if host_holder(home) != pid:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if _wait_gone(home, pid, patience):
            if number == signal.SIGKILL:
                (host_dir(home) / "host.json").unlink(missing_ok=True)
                raise TickoverError(
                    "host-killed",
                    "Host had to be killed",
                    f"Process {pid} did not stop in time. Its model servers may still run.",
                    hint="tickover host start && tickover host stop    # adopts and ends them",
                )
            return True
    raise TickoverError("host-stuck", "Host cannot be stopped", f"Process {pid} survives SIGKILL.")


def host_status(home: Path) -> HostInfo | None:
    """The running host, or None."""
    pid = host_holder(home)
    if pid is None:
        return None
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        facts = read_host_file(home)
        # One that has ended may still be named while the host that it took over from lets go of the lock.
        if facts is not None and facts.get("pid") == pid and _is_alive(pid):
            return _info(facts, already_running=True)
        holder = host_holder(home)
        if holder is None:
            return None
        pid = holder  # another one may just have taken over from it
        time.sleep(_POLL_SECONDS)  # it starts or stops just now
    raise TickoverError(
        "host-silent",
        "Host does not answer",
        f"Process {pid} holds {host_dir(home)} but has not become ready.",
        hint=f"tail {host_dir(home) / 'host.log'}",
        exit_code=Exit.TIMEOUT,
    )


# -- inside ------------------------------------------------------------------------------------------------


def _spawn(command: list[str], log_path: Path) -> tuple[subprocess.Popen[bytes], int]:
    reading, writing = os.pipe()
    try:
        with log_path.open("ab") as log:
            child = subprocess.Popen(
                [*command, "--ready-fd", str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                pass_fds=(writing,),
            )
    except OSError as err:
        os.close(reading)
        raise unwritable(log_path.parent, err) from err
    finally:
        os.close(writing)
    return child, reading


def _environment() -> dict[str, str]:
    """The caller's environment with the source tree importable from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *(p for p in paths if p != root)])}


def _answer_of(child: subprocess.Popen[bytes], pipe: int, log_path: Path, seconds: float) -> dict[str, Any]:
    """What the child says of its start. Raises TickoverError if it says nothing."""
    try:
        answer = _await_answer(pipe, seconds)
    finally:
        os.close(pipe)
    if answer is None:
        raise _start_failed(child, log_path, seconds)
    return answer


def _await_answer(pipe: int, seconds: float) -> dict[str, Any] | None:
    """The child's one line; None when it ended or the time is up without one."""
    text = b""
    end = time.monotonic() + seconds
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
        part = os.read(pipe, 65536) if ready else b""
        if not part:
            return None
        text += part
    found: dict[str, Any] = json.loads(text)
    return found


def _start_failed(child: subprocess.Popen[bytes], log_path: Path, seconds: float) -> TickoverError:
    """Why a child that never said it was ready did not: it ended, or it hangs."""
    try:
        code = child.wait(0.5)
        what = f"The host ended with code {code} before it was ready."
    except subprocess.TimeoutExpired:
        child.terminate()
        try:
            child.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        what = f"The host was not ready within {seconds:.0f} seconds."
    lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return TickoverError(
        "host-not-started",
        "Host did not start",
        "\n".join([what, f"The end of {log_path}:", *(f"  {line}" for line in lines)]),
        hint=f"less {log_path}",
    )


def _running_as(info: HostInfo, home: Path, port: int | None, tls_port: int | None) -> HostInfo:
    if port is not None and not info.url.endswith(f":{port}"):
        raise TickoverError(
            "host-running",
            "Host is running already",
            f"Process {info.pid} serves at {info.url}, not on port {port}.",
            hint=f"tickover host stop && tickover host start --port {port}",
        )
    serves = (read_host_file(home) or {}).get("tls_port")
    if tls_port is not None and (tls_port or None) != serves:
        where = f"port {serves}" if serves else "no port"
        raise TickoverError(
            "host-running",
            "Host is running already",
            f"Process {info.pid} serves HTTPS on {where}, not as --tls-port {tls_port} says.",
            hint=f"tickover host stop && tickover host start --tls-port {tls_port}",
        )
    return info


def _info(facts: Mapping[str, Any], *, already_running: bool) -> HostInfo:
    return HostInfo(
        pid=int(facts["pid"]),
        url=str(facts["url"]),
        version=str(facts["version"]),
        started_at=str(facts["started_at"]),
        already_running=already_running,
        note=str(facts.get("note", "")),
    )


def host_holder(home: Path) -> int | None:
    """The process that holds the data folder's lock, or None."""
    directory = host_dir(home)
    if not (directory / "lock").exists():
        return None
    lock = open_lock(directory)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = lock.read().strip()
            return int(text) if text.isdigit() else None
        return None


def _wait_gone(home: Path, pid: int, seconds: float) -> bool:
    """True once the process has let go of the data folder and has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if host_holder(home) != pid and not _is_alive(pid):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _is_alive(pid: int) -> bool:
    """False for a zombie too: it holds nothing any more."""
    try:
        state = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="ascii", errors="replace")
            .rpartition(")")[2]
            .split()[0]
        )
    except OSError:
        return False
    return state not in ("Z", "X")


__all__ = ["HostInfo", "host_holder", "host_status", "parse_nas", "start_host", "stop_host", "upgrade_host"]
