"""Binding the host's port, and who holds it if it is taken.

Owns: the choice of the port and the file that remembers it. Promises: an explicit port is used or refused;
without one the port stays the same from start to start while it is free. Never: accepts a connection.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from tickover.errors import ConfigError, TickoverError

DEFAULT_PORT = 9797
_LISTEN_STATE = "0A"


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket nobody accepts from yet. note: what the user should know about the port."""

    sock: socket.socket
    port: int
    note: str = ""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_listen(host: str, *, allow_remote: bool) -> None:
    """Refuse to be reachable from elsewhere unless that was asked for."""
    if is_loopback(host) or allow_remote:
        return
    raise ConfigError(
        "listen-not-loopback",
        "Host would be reachable from outside",
        f"Listening on {host} lets other machines call the host. Anonymous triggers would be open to them.",
        address=host,
        hint=f"tickover host run --listen {host}:PORT --allow-remote    # if that is what you want",
    )


def bind(host: str, port: int | None, memory: Path) -> Bound:
    """Bind the explicit port, else the remembered one, else 9797, else any free one."""
    if port is not None:
        try:
            sock = _bound(host, port)
        except OSError as err:
            raise port_error(host, port, err) from err
        return _remembered(Bound(sock, int(sock.getsockname()[1])), memory)
    wanted = remembered_port(memory) or DEFAULT_PORT
    try:
        bound = Bound(_bound(host, wanted), wanted)
    except OSError as err:
        if err.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise port_error(host, wanted, err) from err
        sock = _bound(host, 0)
        free = int(sock.getsockname()[1])
        holder = port_holder(wanted)
        by = f" by {holder}" if holder else ""
        bound = Bound(sock, free, f"port {wanted} is taken{by}; using {free} from now on")
    return _remembered(bound, memory)


def bind_tls(host: str, port: int | None) -> Bound | None:
    """The port for TLS, which is an explicit one or none."""
    if not port:
        return None
    try:
        return Bound(_bound(host, port), port)
    except OSError as err:
        raise port_error(host, port, err) from err


def close_bound(bound: Bound | None) -> None:
    if bound is not None:
        bound.sock.close()


def _remembered(bound: Bound, memory: Path) -> Bound:
    draft = memory.with_suffix(".new")
    draft.write_text(f"{bound.port}\n", encoding="ascii")
    draft.replace(memory)
    return bound


def remembered_port(memory: Path) -> int | None:
    try:
        text = memory.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else None


def port_error(host: str, port: int, err: OSError) -> TickoverError:
    if err.errno == errno.EADDRINUSE:
        holder = port_holder(port)
        by = f" by {holder}" if holder else ""
        return TickoverError(
            "port-taken",
            "Port is taken",
            f"Port {port} on {host} is in use{by}.",
            address=f"{host}:{port}",
            hint="tickover host start --port PORT    # another one, or stop what holds it",
        )
    return TickoverError(
        "port-unusable",
        "Port cannot be used",
        f"Listening on {host}:{port} failed: {err.strerror or err}.",
        address=f"{host}:{port}",
        hint="tickover host start --port 9797",
    )


def _bound(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((name, port))
        sock.listen(1024)  # only a listening socket keeps the port from another that reuses addresses
    except OSError:
        sock.close()
        raise
    return sock


def port_holder(port: int) -> str:
    """``process 123 (command line)`` of who listens on a TCP port, or "" when it cannot be seen."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    if not inodes:
        return ""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if not inodes.isdisjoint(_open_files(folder / "fd")):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                command = b" ".join(words).decode("utf-8", errors="replace").strip()
                return f"process {folder.name} ({command[:200]})"
        except OSError:
            continue  # gone meanwhile, or another user's
    return ""


def _open_files(folder: Path) -> list[str]:
    """What the descriptors of a process stand for; one that is closed meanwhile is left out."""
    found = []
    for link in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


def _listening_inodes(table: str, port: int) -> list[str]:
    try:
        lines = Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split()
        if fields[3] == _LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
            found.append(f"socket:[{fields[9]}]")
    return found
