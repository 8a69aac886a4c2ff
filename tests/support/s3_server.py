"""A real S3 server on loopback: versitygw over a folder, built once from its Go module.

`python -m tests.support.s3_server` builds it ahead, with more patience than a test has, and prints its path.

Owns: the binary's cache and the process. Promises: a reason where there is none. Never: leaves one running.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MODULE: Final = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
BUILD_SECONDS: Final = 280.0
START_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens, its only keys, and the folder whose sub-folders are the buckets."""

    port: int
    folder: Path
    access_key: str = "tester"
    secret_key: str = "tester-secret"

    def url(self, bucket: str, prefix: str = "") -> str:
        """The state's URL, as both engines take it."""
        query = f"region=us-east-1&endpoint=127.0.0.1:{self.port}&s3ForcePathStyle=true&disableSSL=true"
        return f"s3://{bucket}{'/' + prefix if prefix else ''}?{query}"

    def env(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def bucket(self, name: str) -> str:
        (self.folder / name).mkdir()
        return name


def binary(patience: float = BUILD_SECONDS) -> tuple[str, str]:
    """The server's path, or an empty one and the reason. patience: seconds that building may take."""
    if found := os.environ.get("TICKOVER_VERSITYGW") or shutil.which("versitygw"):
        return found, ""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickover"
    built = cache / "versitygw"
    if built.exists():
        return str(built), ""
    if not shutil.which("go"):
        return "", "no S3 server: neither versitygw nor a Go toolchain to build it with"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        ran = subprocess.run(
            ["go", "install", MODULE],
            env=os.environ | {"GOBIN": str(cache)},
            capture_output=True,
            text=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        return "", f"no S3 server: building {MODULE} took more than {patience:.0f} s"
    if ran.returncode:
        return "", f"no S3 server: {MODULE} could not be built: {ran.stderr.strip()[-300:]}"
    return str(built), ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def s3_server(program: str, folder: Path) -> Iterator[S3Server]:
    """The server over folder, while the block runs."""
    server = S3Server(free_port(), folder)
    folder.mkdir(parents=True, exist_ok=True)
    meta = folder.with_name(f"meta-of-{folder.name}")
    meta.mkdir(exist_ok=True)
    command = [program, "--access", server.access_key, "--secret", server.secret_key]
    command += ["--port", f"127.0.0.1:{server.port}", "--quiet", "posix", "--sidecar", str(meta)]
    command += [str(folder)]
    with open(f"{folder}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait(process, server.port, Path(f"{folder}.log"))
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start: {log.read_text()[-500:]}")


if __name__ == "__main__":
    path, why = binary(patience=1800.0)
    print(path or f"error: {why}")
    raise SystemExit(0 if path else 1)
