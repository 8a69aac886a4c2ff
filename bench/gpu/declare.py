"""Functions on a tickover host, declared by Alibaba Cloud's own client of Function Compute.

Owns: what a bench function looks like, real or as a stand-in, and the calls that declare it. Promises: the
servers are started by the host and asked through its front door, as anybody's. Never: starts a server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from bench.gpu.models import CHAT_TEMPLATE
from tickover.fc.gpu import CATALOGUE
from tickover.host.auth import load_credentials
from tickover.host.daemon import HostInfo
from tickover.paths import host_dir

MOUNT: Final = "/mnt/models"
START_SECONDS: Final = 420
_CPU: Final = 16  # comes with any card


@dataclass(frozen=True, slots=True)
class Wanted:
    """A function of the bench. size: of its model. share: of the card's memory, what vLLM may use. more: its
    variables."""

    name: str
    size: str
    model: str
    gpu_type: str
    memory_mb: int
    share: float
    linger_seconds: float
    deep_after_seconds: float
    deepest: str = "checkpoint"
    more: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def variables(self) -> dict[str, str]:
        return {
            "TICKOVER_LINGER_SECONDS": f"{self.linger_seconds:g}",
            "TICKOVER_IDLE_DEEPEST": self.deepest,
            "TICKOVER_IDLE_DEEP_AFTER_SECONDS": f"{self.deep_after_seconds:g}",
            "TICKOVER_START_DEADLINE_SECONDS": str(START_SECONDS),
            "VLLM_SERVER_DEV_MODE": "1",
            "VLLM_USE_FLASHINFER_SAMPLER": "0",
            "HF_HUB_OFFLINE": "1",
            **self.more,
        }

    def words(self) -> list[str]:
        """vLLM's, after the interpreter."""
        path = f"{MOUNT}/{self.model}"
        return [
            *("-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", "${port}"),
            *("--model", path, "--served-model-name", self.model, "--enable-sleep-mode"),
            *("--chat-template", f"{path}/{CHAT_TEMPLATE}"),
            *("--max-model-len", "4096", "--gpu-memory-utilization", f"{self.share:g}", *self.flags),
        ]


class Declarer:
    """The official client, pointed at a host. words: a stand-in's, in place of vLLM's."""

    def __init__(
        self,
        info: HostInfo,
        home: Path,
        python: str = sys.executable,
        words: Callable[[Wanted], list[str]] | None = None,
    ) -> None:
        keys = load_credentials(host_dir(home) / "credentials.json")
        self._python = python
        self._words = words
        self._client = Client(
            Config(
                access_key_id=keys.access_key_id,
                access_key_secret=keys.access_key_secret,
                endpoint=info.url.removeprefix("http://"),
                protocol="http",
                region_id="local",
            )
        )

    def declare(self, wanted: Wanted) -> str:
        """The function with one reserved, idling instance; the URL of its trigger."""
        client, name = self._client, wanted.name
        client.create_function(fc.CreateFunctionRequest(body=self._function(wanted)))
        pool = fc.PutProvisionConfigInput(
            default_target=1, always_allocate_cpu=False, always_allocate_gpu=False
        )
        client.put_provision_config(name, fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))
        rule = json.dumps({"authType": "anonymous", "methods": ["GET", "POST"]})
        trigger = fc.CreateTriggerInput(
            trigger_name="web", trigger_type="http", qualifier="LATEST", trigger_config=rule
        )
        client.create_trigger(name, fc.CreateTriggerRequest(body=trigger))
        return str(client.get_trigger(name, "web").body.http_trigger.url_internet)

    def trouble(self, name: str) -> str:
        """Why its instance does not come up; empty while nothing has failed."""
        request = fc.GetProvisionConfigRequest(qualifier="LATEST")
        return str(self._client.get_provision_config(name, request).body.current_error or "")

    def drop(self, name: str) -> None:
        """No instance of it any more; the function stays declared."""
        pool = fc.PutProvisionConfigInput(
            default_target=0, always_allocate_cpu=False, always_allocate_gpu=False
        )
        self._client.put_provision_config(name, fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))

    def _function(self, wanted: Wanted) -> fc.CreateFunctionInput:
        words = self._words(wanted) if self._words else wanted.words()
        container = fc.CustomContainerConfig(
            image="process://local",
            entrypoint=[self._python],
            command=words,
            health_check_config=fc.CustomHealthCheckConfig(http_get_url="/health", timeout_seconds=3),
        )
        found = fc.CreateFunctionInput(
            function_name=wanted.name,
            runtime="custom-container",
            handler="not-used",
            cpu=_CPU,
            memory_size=wanted.memory_mb,
            disk_size=512,
            timeout=600,
            instance_concurrency=8,
            custom_container_config=container,
            environment_variables=wanted.variables(),
        )
        kind = CATALOGUE[wanted.gpu_type]
        found.gpu_config = fc.GPUConfig(gpu_type=kind.name, gpu_memory_size=kind.vram_mb)
        if self._words:
            return found
        mount = fc.NASMountConfig(server_addr=f"local:/{wanted.model}", mount_dir=f"{MOUNT}/{wanted.model}")
        found.nas_config = fc.NASConfig(mount_points=[mount], user_id=0, group_id=0)
        return found
