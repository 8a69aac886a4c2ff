"""A host that serves real vLLM on the CPU: declared by the official FC client, asked through the front door.

The folder with vLLM is what tests/support/vllm/build.sh makes.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import httpx
from alibabacloud_fc20230330 import models as fc
from openai import OpenAI

from tests.support.host_core import marked_processes
from tests.support.host_edge_server import Served, served
from tickover.host.model import InstanceView
from tickover.host.pool import PoolSettings, ReservedPool
from tickover.host.server import PoolNeeds
from tickover.paths import host_dir, nas_dir

FUNCTION, MODEL = "chat-dev", "smollm2"
# A cold import of vLLM from a slow disk takes longer than the start deadline of a host leaves.
START_SECONDS = 300.0
ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TICKOVER_LINGER_SECONDS": "1",
}
FLAGS = ("--dtype", "bfloat16", "--max-model-len", "2048", "--host", "127.0.0.1")


class VllmHost:
    """One host with at most one function of each name."""

    def __init__(self, found: Served, vllm: Path) -> None:
        self.served, self._vllm, self._fc = found, vllm, found.client()

    # -- declaring -------------------------------------------------------------------------------------

    def argv(self, path: str = f"/mnt/models/{MODEL}") -> list[str]:
        """The start command of vLLM's images, with the flags of a machine without a GPU."""
        python = [str(self._vllm / "venv/bin/python3"), "-m", "vllm.entrypoints.openai.api_server"]
        return [*python, "--enforce-eager", "--model", path, "--served-model-name", MODEL, *FLAGS]

    def declare(self, argv: list[str], name: str = FUNCTION) -> None:
        """A function with its published version, the alias live and an HTTP trigger; no instance yet."""
        container = fc.CustomContainerConfig(
            image="process://local",
            entrypoint=argv[:3],
            command=[*argv[3:], "--port", "${port}"],
            health_check_config=fc.CustomHealthCheckConfig(http_get_url="/health"),
        )
        point = fc.NASMountConfig(server_addr="local:/models", mount_dir="/mnt/models")
        spec = fc.CreateFunctionInput(
            function_name=name,
            runtime="custom-container",
            handler="not-used",
            cpu=2,
            memory_size=8192,
            disk_size=512,
            timeout=600,
            instance_concurrency=4,
            environment_variables=ENVIRONMENT,
            custom_container_config=container,
            nas_config=fc.NASConfig(mount_points=[point]),
        )
        self._fc.create_function(fc.CreateFunctionRequest(body=spec))
        self._fc.publish_function_version(
            name, fc.PublishFunctionVersionRequest(body=fc.PublishVersionInput())
        )
        alias = fc.CreateAliasInput(alias_name="live", version_id="1")
        self._fc.create_alias(name, fc.CreateAliasRequest(body=alias))
        trigger = fc.CreateTriggerInput(
            trigger_name="web",
            trigger_type="http",
            qualifier="live",
            trigger_config=json.dumps({"authType": "anonymous", "methods": ["GET", "POST"]}),
        )
        self._fc.create_trigger(name, fc.CreateTriggerRequest(body=trigger))

    def reserve(self, target: int, name: str = FUNCTION) -> None:
        """The pool's target, with the idle switch on."""
        body = fc.PutProvisionConfigInput(
            default_target=target, always_allocate_cpu=False, always_allocate_gpu=False
        )
        request = fc.PutProvisionConfigRequest(qualifier="live", body=body)
        self._fc.put_provision_config(name, request)

    def error(self, name: str) -> str:
        """What FC's API says is wrong with the pool."""
        request = fc.GetProvisionConfigRequest(qualifier="live")
        return str(self._fc.get_provision_config(name, request).body.current_error or "")

    # -- looking ---------------------------------------------------------------------------------------

    def instance(self) -> InstanceView | None:
        """The only instance, if there is one."""
        found = self.served.pool.instances(FUNCTION)
        assert len(found) <= 1
        return found[0] if found else None

    def is_up(self) -> bool:
        """Whether the pool has its instance. Fails with vLLM's log if it could not start."""
        status = self.served.pool.status(FUNCTION, "live")
        if status.current_error:
            logs = sorted((host_dir(self.served.home) / "logs").iterdir())
            raise AssertionError("\n".join([status.current_error, *(log.read_text() for log in logs)]))
        return bool(status.current == status.target)

    def until(self, is_true: Callable[[InstanceView | None], bool], what: str, seconds: float = 60) -> float:
        """Wait; how long it took."""
        began = time.monotonic()
        while not is_true(self.instance()):
            took = time.monotonic() - began
            assert took < seconds, f"{what} did not come in {seconds} s: {self.instance()}"
            time.sleep(0.05)
        return time.monotonic() - began

    def until_asleep(self, seconds: float = 60) -> InstanceView:
        self.until(lambda i: i is not None and i.state.value == "idle", "idle", seconds)
        found = self.instance()
        assert found is not None
        return found

    def running(self) -> int:
        """Requests that vLLM works on, by its own count."""
        found = self.instance()
        assert found is not None
        direct = build_opener(ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{found.port}/metrics", timeout=10) as answer:
            counts = re.findall(
                r"^vllm:num_requests_running\{.*\} (\S+)", answer.read().decode(), re.MULTILINE
            )
        assert counts, "vLLM tells no num_requests_running"
        return round(sum(map(float, counts)))

    # -- asking ----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"{self.served.url}/fn/{FUNCTION}.live/v1"

    @contextlib.contextmanager
    def openai(self) -> Iterator[OpenAI]:
        """The official client, on the front door."""
        with httpx.Client(trust_env=False, timeout=120) as direct:
            yield OpenAI(base_url=self.url, api_key="none", http_client=direct, max_retries=0)


def answers(view: InstanceView, seconds: float) -> bool:
    """Whether vLLM itself answers a health check in time; a frozen one still has its port open."""
    try:
        with httpx.Client(trust_env=False, timeout=seconds) as direct:
            return direct.get(f"http://127.0.0.1:{view.port}/health").status_code == 200
    except httpx.TimeoutException:
        return False


def processor_ticks(view: InstanceView) -> dict[int, int]:
    """Processor time that each process of an instance has had."""
    found = {}
    for pid in marked_processes(view.instance_id):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        found[pid] = int(fields[11]) + int(fields[12])
    return found


@contextlib.contextmanager
def vllm_host(home: Path, vllm: Path) -> Iterator[VllmHost]:
    """A host on a free port, with vLLM's models on its NAS beside folders that hold none."""
    models = nas_dir(home) / "models"
    models.mkdir(parents=True)
    (models / MODEL).symlink_to(vllm / "models" / MODEL)
    (models / "empty").mkdir()
    shutil.copytree(
        vllm / "models" / MODEL, models / "pointer", ignore=shutil.ignore_patterns("*.safetensors")
    )
    # What Git leaves of a large file where Git LFS is not installed.
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 269060552\n"
    (models / "pointer" / "model.safetensors").write_text(pointer)

    def pool(needs: PoolNeeds) -> ReservedPool:
        settings = PoolSettings(start_deadline_seconds=START_SECONDS)
        return ReservedPool(needs.registry, needs.db_path, needs.data_dir, needs.nas, settings=settings)

    with served(home, pool) as found:
        yield VllmHost(found, vllm)
