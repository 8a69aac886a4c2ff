"""A host of a bench's own: started, killed and ended by its process id; its functions.

Owns: the host process that a bench measures and what is declared on it, through Alibaba Cloud's client.
Promises: only what it started is signalled; what it started is gone when the block ends. Never: measures.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient
from tickover.host.daemon import host_holder
from tickover.paths import host_dir

ROOT: Final = Path(__file__).resolve().parent.parent
START_SECONDS: Final = 30.0
END_SECONDS: Final = 20.0


class BenchHost:
    """One data folder and the host that serves it now."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port: int | None = None
        self.admin = AdminClient(home)
        self._process: subprocess.Popen[bytes] | None = None
        self._formers: list[subprocess.Popen[bytes]] = []
        self._client: Client | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- the process -----------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the host of this bench does not run")
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return host_dir(self.home) / "host.log"

    @property
    def access_log(self) -> str:
        """The access log, oldest line first."""
        folder = host_dir(self.home)
        names = [*(f"access.log.{number}" for number in range(9, 0, -1)), "access.log"]
        return "".join(path.read_text() for name in names if (path := folder / name).exists())

    def start(self) -> None:
        """Start the host, at the port of the one before, and wait until it serves."""
        host_dir(self.home).mkdir(parents=True, exist_ok=True)
        process, reader = self._spawn("--port", str(self.port or 0), "--grace-seconds", "1")
        told = _line(reader, START_SECONDS)
        self._process = process
        if "url" not in told:
            sys.exit(f"the host did not start: {told}; its log:\n{self.log_path.read_text()[-2000:]}")
        self.port = urlsplit(told["url"]).port

    def upgrade(self) -> None:
        """Replace the host by another process, as `tickover host upgrade` does."""
        process, reader = self._spawn("--take-over")
        told = _line(reader, START_SECONDS)
        if "url" not in told:
            sys.exit(f"the host was not replaced: {told}; its log:\n{self.log_path.read_text()[-2000:]}")
        self._succeeded_by(process)

    def break_upgrade(self, seconds: float) -> bool:
        """A successor that is killed so long after its start. True: nobody is the host any more.

        Whoever is the host then, the former one or nobody, is known when this returns.
        """
        process, reader = self._spawn("--take-over")
        with os.fdopen(reader):
            time.sleep(seconds)
            process.kill()
            process.wait()
        end = time.monotonic() + START_SECONDS
        while (holder := host_holder(self.home)) not in (self.pid, None):
            if time.monotonic() > end:
                sys.exit(
                    f"process {holder} holds the folder; it is neither the former host nor its successor"
                )
            time.sleep(0.01)
        if holder is None:
            self._succeeded_by(process)
            self._process = None
        return holder is None

    def _succeeded_by(self, process: subprocess.Popen[bytes]) -> None:
        if self._process is not None:
            self._formers = [former for former in (*self._formers, self._process) if former.poll() is None]
        self._process = process

    def _spawn(self, *words: str) -> tuple[subprocess.Popen[bytes], int]:
        """A host's process, and where it tells that it serves."""
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "tickover.host.main", "run", "--home", str(self.home), *words]
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--ready-fd", str(writer)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                start_new_session=True,
            )
        os.close(writer)
        return process, reader

    def kill(self) -> None:
        """As `kill -9`; the instances live on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the host and its instances. A bench that broke off between a kill and a start ends them too."""
        if self._process is None:
            self.start()
        for process in (self._process, *self._formers):
            if process is not None:
                _end(process)
        self._process, self._formers = None, []

    # -- what is declared ------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        if self._client is None:
            keys = load_credentials(host_dir(self.home) / "credentials.json")
            self._client = Client(
                Config(
                    access_key_id=keys.access_key_id,
                    access_key_secret=keys.access_key_secret,
                    endpoint=f"127.0.0.1:{self.port}",
                    protocol="http",
                    region_id="local",
                )
            )
        return self._client

    def declare(
        self,
        name: str,
        words: Sequence[str],
        variables: Mapping[str, str],
        *,
        concurrency: int = 200,
        timeout: int = 600,
        affinity: tuple[str, Mapping[str, Any]] = ("NONE", {}),
    ) -> None:
        """A function of one program, its version 1, the alias live, and a trigger. affinity: of its sessions,
        with its config."""
        kind, config = affinity
        container = fc.CustomContainerConfig(
            image="process://local",
            entrypoint=[words[0]],
            command=list(words[1:]),
            health_check_config=fc.CustomHealthCheckConfig(http_get_url="/health", timeout_seconds=3),
        )
        wanted = fc.CreateFunctionInput(
            function_name=name,
            runtime="custom-container",
            handler="not-used",
            cpu=2,
            memory_size=2048,
            disk_size=512,
            timeout=timeout,
            instance_concurrency=concurrency if kind == "NONE" else None,
            session_affinity=kind,
            session_affinity_config=json.dumps(config) if config else None,
            custom_container_config=container,
            environment_variables=dict(variables),
        )
        client = self.client
        client.create_function(fc.CreateFunctionRequest(body=wanted))
        version = self.publish(name)
        alias = fc.CreateAliasInput(alias_name="live", version_id=version)
        client.create_alias(name, fc.CreateAliasRequest(body=alias))
        rule = {"authType": "anonymous", "methods": ["GET", "POST", "DELETE"]}
        trigger = fc.CreateTriggerInput(
            trigger_name="web", trigger_type="http", qualifier="live", trigger_config=json.dumps(rule)
        )
        client.create_trigger(name, fc.CreateTriggerRequest(body=trigger))

    def publish(self, name: str) -> str:
        request = fc.PublishFunctionVersionRequest(body=fc.PublishVersionInput())
        return str(self.client.publish_function_version(name, request).body.version_id)

    def deploy(self, name: str, variables: Mapping[str, str]) -> str:
        """A new version behind the alias."""
        changed = fc.UpdateFunctionInput(environment_variables=dict(variables))
        self.client.update_function(name, fc.UpdateFunctionRequest(body=changed))
        version = self.publish(name)
        moved = fc.UpdateAliasInput(version_id=version)
        self.client.update_alias(name, "live", fc.UpdateAliasRequest(body=moved))
        return version

    def reserve(self, name: str, count: int, *, idles: bool) -> None:
        pool = fc.PutProvisionConfigInput(
            default_target=count, always_allocate_cpu=not idles, always_allocate_gpu=not idles
        )
        self.client.put_provision_config(name, fc.PutProvisionConfigRequest(qualifier="live", body=pool))

    def living(self, name: str) -> list[dict[str, Any]]:
        """Its instances that can serve."""
        up = ("ready", "busy", "idle", "suspending", "waking")
        return [i for i in self.admin.instances(name) if i["state"] in up]

    def until_up(self, name: str, count: int, seconds: float = START_SECONDS) -> list[dict[str, Any]]:
        end = time.monotonic() + seconds
        while len(found := self.living(name)) < count:
            if time.monotonic() > end:
                request = fc.GetProvisionConfigRequest(qualifier="live")
                told = self.client.get_provision_config(name, request).body.current_error
                sys.exit(f"{len(found)} of {count} instances of {name} are up after {seconds:g} s: {told}")
            time.sleep(0.05)
        return found


def end_on_signal() -> None:
    """Let SIGTERM unwind, so that what was started is ended."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"ended by signal {number}"))


@contextlib.contextmanager
def bench_folder() -> Iterator[Path]:
    """A fresh folder, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tickover-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        print("a host of the bench did not end in time and is killed", file=sys.stderr)
        process.kill()
        process.wait()


def _line(descriptor: int, seconds: float) -> dict[str, Any]:
    """The one JSON line that a host tells its starter; closes the descriptor."""
    try:
        return _read_line(descriptor, seconds)
    finally:
        os.close(descriptor)


def _read_line(descriptor: int, seconds: float) -> dict[str, Any]:
    end, read = time.monotonic() + seconds, b""
    while not read.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready or not (chunk := os.read(descriptor, 65536)):
            return {"error": f"nothing was heard within {seconds:g} s" if not ready else "it ended at once"}
        read += chunk
    found: dict[str, Any] = json.loads(read)
    return found
