"""A real Docker engine and a private registry for tests, started here and gone afterwards.

Owns: the two daemons, the engine's own bridge and the base image. Promises: its own data root, exec root,
containerd namespace and socket; no rule of the machine's firewall is touched; everything is ended by pid.
Never: uses an engine that was there before.
"""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiodocker
import pytest

BASE_IMAGE = "base.test/busybox:1"
USER, PASSWORD = "tester", "open-sesame-77"
# bcrypt of the password above; registries take nothing else.
_HTPASSWD = "tester:$2y$05$jEUfBVHZbgvh/scO6ctJXO9Zxkqn8z0sck34JE4pEr2nYBkV2kKua\n"
_APPLETS = ("sh", "sleep", "echo", "cat", "true", "false", "ls", "test", "env", "httpd", "touch", "sync")


@dataclass
class Engine:
    """host: for the provider's config; registry: host and port; folder: scratch space of the engine."""

    host: str
    registry: str
    folder: Path
    pid: int
    _clients: list[Any] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        """Provider config that reaches the engine and may use the registry."""
        login = {"address": f"http://{self.registry}", "username": USER, "password": PASSWORD}
        return {"host": self.host, "registryAuth": [login]}

    def client(self) -> aiodocker.Docker:
        """A second pair of eyes; the caller closes it."""
        return aiodocker.Docker(url=self.host)


def missing() -> str:
    """Why no engine can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "a Docker engine of our own needs root"
    for command, package in (
        ("dockerd", "docker.io"),
        ("docker-registry", "docker-registry"),
        ("busybox", "busybox-static"),
        ("ip", "iproute2"),
    ):
        if shutil.which(command) is None:
            return f"{command} is not installed; as root: apt-get install {package}"
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    if b"ld-linux" in busybox[:4096]:
        return "busybox is not static; as root: apt-get install busybox-static"
    return ""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def rootfs(programs: Sequence[str] = ()) -> bytes:
    """A tar of the smallest system that runs a shell; with programs, one of these alone and no shell."""
    packed = io.BytesIO()
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name in programs or ("busybox",):
            binary = tarfile.TarInfo(f"bin/{name}")
            binary.size, binary.mode = len(busybox), 0o755
            tar.addfile(binary, io.BytesIO(busybox))
        for name in () if programs else _APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return packed.getvalue()


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[Engine]:
    """The engine of one test module; skips with the reason where there can be none."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with engine() as running:
        yield running


@contextmanager
def engine(data_mb: int = 0) -> Iterator[Engine]:
    """A running engine with a base image, and a registry with a password.

    data_mb: the size of a disk of its own for the engine's data; 0: on the disk of the tests.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="docker-engine-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if data_mb:
            stack.enter_context(_disk(folder / "data", data_mb))
        registry = stack.enter_context(_registry(folder / "registry"))
        bridge = stack.enter_context(_bridge())
        host, pid = stack.enter_context(_dockerd(folder, bridge))
        asyncio.run(import_image(host, BASE_IMAGE))
        stack.callback(lambda: asyncio.run(_empty(host)))
        yield Engine(host, registry, folder, pid)


@contextmanager
def _disk(folder: Path, size_mb: int) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "engine", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def _bridge() -> Iterator[str]:
    """A bridge of the engine's own: the machine's docker0 may belong to another engine."""
    number = os.getpid() % 250 + 1
    name = f"dktest{number}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True, capture_output=True)
    try:
        subprocess.run(["ip", "addr", "add", f"10.213.{number}.1/24", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)


@contextmanager
def _dockerd(folder: Path, bridge: str) -> Iterator[tuple[str, int]]:
    socket_path, log = folder / "docker.sock", folder / "dockerd.log"
    name = f"dktest{secrets.token_hex(4)}"  # containerd takes no underscores
    command = [
        *("dockerd", "--config-file", str(folder / "none.json")),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
        *("--pidfile", str(folder / "docker.pid"), "--host", f"unix://{socket_path}"),
        *("--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"),
        *("--containerd-namespace", name, "--containerd-plugins-namespace", f"{name}-plugins"),
        *("--bridge", bridge, "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
        *("--default-address-pool", "base=10.214.0.0/16,size=24", "--shutdown-timeout", "2"),
    ]
    (folder / "none.json").write_text("{}")
    with _process(command, log) as process:
        _until(lambda: socket_path.exists() and _answers(socket_path), process, log)
        yield f"unix://{socket_path}", process.pid


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b"200 OK" in probe.recv(64)
        except OSError:
            return False


@contextmanager
def _registry(folder: Path) -> Iterator[str]:
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    (folder / "htpasswd").write_text(_HTPASSWD)
    (folder / "config.yml").write_text(
        "version: 0.1\n"
        "log: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{address}'}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    )

    def up() -> bool:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401
        except OSError:
            return False
        return False

    command = ["docker-registry", "serve", str(folder / "config.yml")]
    with _process(command, folder / "log") as process:
        _until(up, process, folder / "log")
        yield address


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _until(ready: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 40
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{process.args} did not come up (exit {process.poll()}):\n{tail}")
        time.sleep(0.1)


async def import_image(host: str, name: str, extra: bytes = b"", programs: Sequence[str] = ()) -> str:
    """Make an image of the smallest system; extra makes its id another one."""
    repository, _, tag = name.rpartition(":")
    params = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": f"LABEL extra={extra.hex() or 'no'}"}
    async with aiodocker.Docker(url=host) as client:
        headers = {"content-type": "application/x-tar"}
        async with client._query(
            "images/create", "POST", params=params, data=io.BytesIO(rootfs(programs)), headers=headers
        ) as done:
            text = (await done.read()).decode()
        assert "error" not in text, text
        shown = await client.images.inspect(name)
    image: str = shown["Id"]
    return image


async def _empty(host: str) -> None:
    """Remove every container, so that the engine ends at once and no mount is left."""
    async with aiodocker.Docker(url=host) as client:
        for container in await client.containers.list(all=True):
            with suppress(aiodocker.DockerError):
                await container.delete(force=True, v=True)
        for network in await client.networks.list(filters={"type": "custom"}):
            with suppress(aiodocker.DockerError):
                await (await client.networks.get(network["Id"])).delete()
