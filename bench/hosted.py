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

    def start(self) -> None:
        """Start the host, at the port of the one before, and wait until it serves."""
        reader, writer = os.pipe()
        folder = host_dir(self.home)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tickover.host.main", "run"]
        command += ["--home", str(self.home)]
        command += ["--port", str(self.port or 0), "--grace-seconds", "1", "--ready-fd", str(writer)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, pass_fds=(writer,), start_new_session=True
            )
        os.close(writer)
        try:
            told = _line(reader, START_SECONDS)
        finally:
            os.close(reader)
        if "url" not in told:
            sys.exit(f"the host did not start: {told}; its log:\n{self.log_path.read_text()[-2000:]}")
        self.port = urlsplit(told["url"]).port

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
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            print("the host of the bench did not end in time and is killed", file=sys.stderr)
            process.kill()
            process.wait()
        self._process = None

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


def _line(descriptor: int, seconds: float) -> dict[str, Any]:
    """The one JSON line that a host tells its starter."""
    end, read = time.monotonic() + seconds, b""
    while not read.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready or not (chunk := os.read(descriptor, 65536)):
            return {"error": f"nothing was heard within {seconds:g} s" if not ready else "it ended at once"}
        read += chunk
    found: dict[str, Any] = json.loads(read)
    return found
