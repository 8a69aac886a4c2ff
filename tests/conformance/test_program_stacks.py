"""The project's own program with its own stacks: what it asks an engine for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.component_program import ROOT, SECRET, Ran, run
from tickover.fc.alias import Alias
from tickover.fc.domain import CustomDomain
from tickover.fc.function import Function
from tickover.fc.provision import ProvisionConfig
from tickover.fc.trigger import Trigger
from tickover.fc.validate import violations
from tickover.fc.version import FunctionVersion

MODELS = {
    f"tickover:fc:{model.__name__}": model
    for model in (Function, FunctionVersion, Alias, ProvisionConfig, Trigger, CustomDomain)
}
STACKS = ("dev", "staging", "prod")


def stack_config(stack: str) -> dict[str, Any]:
    """The config of a stack file, keys without their namespace."""
    document = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text())
    return {key.removeprefix("tickover:"): value for key, value in document["config"].items()}


@cache
def registered(stack: str) -> Ran:
    return run(config=stack_config(stack), stack=stack, preview=True)


def test_the_program_is_short() -> None:
    assert len((ROOT / "__main__.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_registers_one_service_with_the_same_shape(stack: str) -> None:
    ran = registered(stack)
    assert ran.error is None
    function = ran.one("tickover:fc:Function")
    assert function["inputs"]["functionName"] == f"chat-{stack}"
    assert ran.one("tickover:fc:Alias")["inputs"]["aliasName"] == "live"
    for hangs_on_live in ("ProvisionConfig", "Trigger"):
        assert ran.one(f"tickover:fc:{hangs_on_live}")["inputs"]["qualifier"] == "live"
    assert set(ran.outputs) == {"urls", "models"}
    assert set(ran.outputs["urls"]) == set(ran.outputs["models"]) == {"chat"}


@pytest.mark.parametrize("stack", STACKS)
def test_all_custom_resources_use_the_explicit_provider(stack: str) -> None:
    ran = registered(stack)
    target = stack_config(stack)["target"]
    provider = ran.one("pulumi:providers:tickover", target)
    assert provider["inputs"]["target"] == target
    others = [r for r in ran.resources if r["custom"] and r is not provider]
    assert {r["provider"] for r in others} == {f"{provider['urn']}::{target}-id"}


@pytest.mark.parametrize("stack", STACKS)
def test_every_component_registers_outputs_and_every_child_has_a_parent(stack: str) -> None:
    ran = registered(stack)
    components = [r for r in ran.resources if not r["custom"]]
    assert all(r["outputs"] is not None for r in components)
    assert [r["name"] for r in ran.resources if r["parent"].startswith("pulumi:pulumi:Stack")] == [
        stack_config(stack)["target"],
        "chat",
    ]


@pytest.mark.parametrize("stack", STACKS)
def test_fc_accepts_all_inputs_of_every_stack(stack: str) -> None:
    judged = 0
    for resource in registered(stack).resources:
        model = MODELS.get(resource["type"])
        if model is not None:
            inputs = {k: v[1] if v[:1] == [SECRET] else v for k, v in _lists(resource["inputs"]).items()}
            assert violations(model, {**resource["inputs"], **inputs}) == ()
            judged += 1
    assert judged >= 5


def _lists(inputs: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {k: v for k, v in inputs.items() if isinstance(v, list)}


def test_dev_serves_the_small_model_as_a_local_process() -> None:
    ran = registered("dev")
    inputs = ran.one("tickover:fc:Function")["inputs"]
    container = inputs["customContainerConfig"]
    assert container["image"] == "process://local"
    assert " ".join(container["entrypoint"] + container["command"]) == (
        "python3 -m tickover.llama_server"
        " --model /mnt/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
        " --served-model-name smollm2 --host 127.0.0.1 --port ${port} --max-model-len 2048 --max-num-seqs 4"
    )
    assert inputs["nasConfig"]["mountPoints"] == [{"serverAddr": "local:/models", "mountDir": "/mnt/models"}]
    assert (inputs["cpu"], inputs["memorySize"], inputs["instanceConcurrency"]) == (2, 4096, 4)
    assert "gpuConfig" not in inputs
    pool = ran.one("tickover:fc:ProvisionConfig")["inputs"]
    assert (pool["defaultTarget"], pool["alwaysAllocateCPU"], pool["alwaysAllocateGPU"]) == (1, False, False)
    trigger = json.loads(ran.one("tickover:fc:Trigger")["inputs"]["triggerConfig"])
    assert trigger["authType"] == "anonymous"
    assert "authConfig" not in trigger
    assert ran.outputs["models"] == {"chat": "smollm2"}


def test_staging_runs_the_vllm_image_on_a_gpu() -> None:
    inputs = registered("staging").one("tickover:fc:Function")["inputs"]
    assert inputs["gpuConfig"] == {"gpuType": "fc.gpu.ada.1", "gpuMemorySize": 48 * 1024}
    container = inputs["customContainerConfig"]
    assert re.fullmatch(r"vllm/vllm-openai:v\d+\.\d+\.\d+", container["image"])
    assert container["entrypoint"] == ["python3", "-m", "vllm.entrypoints.openai.api_server"]
    assert " ".join(container["command"]) == (
        "--enforce-eager --enable-sleep-mode --model /mnt/models/qwen3-8b --trust-remote-code"
        " --served-model-name qwen3-8b"
        " --host 0.0.0.0 --port 8000 --max-model-len 8192 --max-num-seqs 16"
    )
    assert container["port"] == 8000
    assert inputs["environmentVariables"]["VLLM_SERVER_DEV_MODE"] == "1"


def test_prod_is_pinned_networked_timed_named_and_closed() -> None:
    ran = registered("prod")
    inputs = ran.one("tickover:fc:Function")["inputs"]
    assert re.search(r"@sha256:[0-9a-f]{64}$", inputs["customContainerConfig"]["image"])
    assert set(inputs["vpcConfig"]) == {"vpcId", "vSwitchIds", "securityGroupId"}
    actions = ran.one("tickover:fc:ProvisionConfig")["inputs"]["scheduledActions"]
    assert [(a["scheduleExpression"], a["target"], a["timeZone"]) for a in actions] == [
        ("cron(0 0 9 * * MON-FRI)", 1, "Asia/Shanghai"),
        ("cron(0 0 19 * * MON-FRI)", 0, "Asia/Shanghai"),
    ]
    domain = ran.one("tickover:fc:CustomDomain")
    assert domain["inputs"]["routeConfig"]["routes"] == [
        {"path": "/*", "functionName": "chat-prod", "qualifier": "live"}
    ]
    assert "chat-http" in domain["dependencies"]
    mark, trigger = ran.one("tickover:fc:Trigger")["inputs"]["triggerConfig"]
    assert mark == SECRET
    assert json.loads(trigger)["authType"] == "bearer"
    assert ran.outputs["urls"] == {"chat": "http://chat.example.com"}


def test_preview_of_prod_warns_of_the_missing_token_and_up_refuses() -> None:
    assert "TICKOVER_TOKEN_CHAT" in registered("prod").log
    ran = run(config=stack_config("prod"), stack="prod")
    assert ran.error is not None
    assert ran.error["exit_code"] == 2
    assert ran.error["address"] == "tickover:services.chat.auth"
    assert ran.resources == ()


@pytest.mark.parametrize(
    ("config", "env"),
    [({"tokens": {"chat": "s3cret-token"}}, {}), ({}, {"TICKOVER_TOKEN_CHAT": "s3cret-token"})],
    ids=["config", "environment"],
)
def test_the_token_is_a_secret_from_end_to_end(config: dict[str, Any], env: dict[str, str]) -> None:
    ran = run(config=stack_config("prod") | config, stack="prod", env=env)
    assert ran.error is None
    mark, trigger = ran.one("tickover:fc:Trigger")["inputs"]["triggerConfig"]
    assert mark == SECRET
    tokens = json.loads(json.loads(trigger)["authConfig"])["tokens"]
    assert [t["token"] for t in tokens] == ["s3cret-token"]
    rest = [r for r in ran.resources if r["type"] != "tickover:fc:Trigger"]
    assert "s3cret-token" not in json.dumps(rest) + json.dumps(dict(ran.outputs)) + ran.log


def test_a_version_is_published_when_and_only_when_the_content_changes() -> None:
    def version(**changes: Any) -> str:
        services = stack_config("dev")["services"]
        services["chat"] |= changes
        found = run(config={"services": services}).one("tickover:fc:FunctionVersion")
        assert found["retain"]
        return found["inputs"]["description"]

    same = registered("dev").one("tickover:fc:FunctionVersion")["inputs"]["description"]
    assert version() == same
    assert version(pool={"instances": 2}) == same
    assert version(extra_args=["--seed", "1"]) != same
    assert version(instance_concurrency=2) != same


@pytest.mark.parametrize(("pinned", "weights"), [("3", {"7": 0.05}), ("7", {})])
def test_a_canary_gives_the_newest_version_a_share_beside_the_pinned_one(
    pinned: str, weights: dict[str, float]
) -> None:
    services = stack_config("dev")["services"]
    services["chat"] |= {"version": pinned, "canary": 0.05}
    inputs = run(config={"services": services}).one("tickover:fc:Alias")["inputs"]
    assert inputs["versionId"] == pinned
    assert inputs.get("additionalVersionWeight", {}) == weights
    assert "additionalVersionWeight" not in registered("dev").one("tickover:fc:Alias")["inputs"]


def test_a_pinned_version_moves_only_the_alias() -> None:
    services = stack_config("dev")["services"]
    services["chat"]["version"] = "3"
    ran = run(config={"services": services})
    assert ran.one("tickover:fc:Alias")["inputs"]["versionId"] == "3"
    assert registered("dev").one("tickover:fc:Alias")["inputs"]["versionId"] == "7"
    for same in ("Function", "FunctionVersion", "ProvisionConfig"):
        token = f"tickover:fc:{same}"
        assert ran.one(token)["inputs"] == registered("dev").one(token)["inputs"]


def test_a_config_mistake_names_its_path_before_anything_is_registered() -> None:
    services = {"chat": {"model": "smolm2", "image": {"driver": "process"}}}
    ran = run(config={"services": services})
    assert ran.resources == ()
    assert ran.error is not None
    assert ran.error["exit_code"] == 2
    assert "tickover:services.chat.model" in ran.error["text"]
    assert "did you mean smollm2?" in ran.error["text"]


def test_no_services_is_an_empty_stack() -> None:
    ran = run(config={})
    assert [r["type"] for r in ran.resources] == ["pulumi:providers:tickover"]
    assert ran.outputs == {"urls": {}, "models": {}}


def test_the_project_file_points_at_the_plugin_and_the_stacks() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert project["stackConfigDir"] == "stacks"
    assert {p.name for p in Path(ROOT / "stacks").iterdir()} == {f"Pulumi.{s}.yaml" for s in STACKS}
    assert project["plugins"]["providers"] == [{"name": "tickover", "path": ".venv/bin"}]
    assert project["backend"]["url"] == "file://.tickover/state"
