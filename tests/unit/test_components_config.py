"""The stack config: every mistake at once, each with its key path."""

from __future__ import annotations

from typing import Any

import pytest

from components.config import parse
from components.function import AuthArgs
from components.presets import PRESETS
from components.service import model_argv
from tickover.errors import ConfigError, Exit

NETWORK = {"vpc_id": "vpc-1", "vswitch_ids": ["vsw-1"], "security_group_id": "sg-1"}
CHAT: dict[str, Any] = {"model": "smollm2", "image": {"driver": "process"}}


def mistakes(raw: dict[str, Any], stack: str = "dev") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(raw, stack)
    assert caught.value.exit_code is Exit.CONFIGURATION
    return caught.value.detail.splitlines()


def chat(**changes: Any) -> dict[str, Any]:
    return {"services": {"chat": {**CHAT, **changes}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"gpu": {"type": "fc.gpu.ada.9"}},
            'gpu.type: "fc.gpu.ada.9" is not a GPU type; did you mean fc.gpu.ada.',
        ),
        ({"gpu": "fc.gpu.adda.1"}, 'gpu: "fc.gpu.adda.1" is not a GPU type; did you mean fc.gpu.ada.1?'),
        ({"model": "smol2"}, 'model: "smol2" is no preset; did you mean smollm2?'),
        ({"modle": 1}, "modle: no such key; did you mean model?"),
        ({"pool": {"instance": 1}}, "pool.instance: no such key; did you mean instances?"),
        ({"pool": {"instances": "two"}}, "pool.instances: input should be a valid integer"),
        ({"pool": {"schedules": [{"cron": "0 0 9 * * *"}]}}, "pool.schedules[0].instances: required"),
        ({"pool": 3}, "pool: must be a map, not 3"),
        ({"pool": {"idle": "deep"}}, 'pool.idle: must be true, false or a map, not "deep"'),
        (
            {"pool": {"idle": {"deepest": "slep"}}},
            'pool.idle.deepest: "slep" is not one of none, freeze, sleep,',
        ),
        (
            {"pool": {"idle": {"linger_seconds": -1}}},
            "pool.idle.linger_seconds: input should be greater than or equal to 0, not -1",
        ),
        (
            {"pool": {"idle": {"max_age_seconds": 5}}},
            "pool.idle.max_age_seconds: input should be greater than or equal to 60, not 5",
        ),
        ({"pool": {"idle": {"linger": 5}}}, "pool.idle.linger: no such key; did you mean linger_seconds?"),
        (
            {"auth": "baerer"},
            'auth: "baerer" is not one of anonymous, bearer, function; did you mean bearer?',
        ),
        (
            {"image": "vllm/vllm-openai"},
            'image: "vllm/vllm-openai" is not an image reference: it names no tag',
        ),
        (
            {"image": "Vllm:v1.0"},
            "image: \"Vllm:v1.0\" is not an image reference: 'Vllm' is not a repository",
        ),
        ({"domain": "not a name"}, 'domain: "not a name" is not a host name'),
        (
            {"instance_concurrency": 0},
            "instance_concurrency: input should be greater than or equal to 1, not 0",
        ),
        (
            {"timeout_seconds": 90_000},
            "timeout_seconds: input should be less than or equal to 86400, not 90000",
        ),
        ({"storage": {"server": "/models"}}, "storage.server: string should match pattern"),
    ],
)
def test_a_mistake_in_a_field(changes: dict[str, Any], said: str) -> None:
    (line,) = mistakes(chat(**changes))
    assert line.startswith(f"tickover:services.chat.{said}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"sleep_mode": True, "command": ["b"]},
            "sleep_mode: `sleep_mode` and `command` cannot both be given",
        ),
        (
            {"prefix_affinity": True, "environment": {"TICKOVER_PREFIX_AFFINITY": "on"}},
            "prefix_affinity: `prefix_affinity` and `environment.TICKOVER_PREFIX_AFFINITY` cannot both",
        ),
        (
            {"environment": {"TICKOVER_PREFIX_AFFINITY": "yes"}},
            "environment.TICKOVER_PREFIX_AFFINITY: must be on or off, but is 'yes'",
        ),
        ({"pool": {"reason": "x"}}, "pool.reason: `reason` and `idle: true` cannot both be given"),
        (
            {"extra_args": ["a"], "command": ["b"]},
            "extra_args: `extra_args` and `command` cannot both be given",
        ),
        (
            {"pool": {"idle": {"enabled": False, "deepest": "freeze"}}},
            "pool.idle.deepest: `deepest` and `enabled: false` cannot both be given",
        ),
        (
            {"pool": {"idle": {"linger_seconds": 5}}, "environment": {"TICKOVER_LINGER_SECONDS": "3"}},
            "pool.idle.linger_seconds: `pool.idle.linger_seconds` and `environment.TICKOVER_LINGER_SECONDS`",
        ),
        (
            {"environment": {"TICKOVER_LINGER_SECONDS": "soon"}},
            "environment.TICKOVER_LINGER_SECONDS: must be a number of seconds from 0 to 86400, but is 'soon'",
        ),
        ({"image": {"driver": "process", "reference": "a:v1.0"}}, "image: `driver: process` and `reference`"),
        ({"image": {}}, "image: `reference` is required"),
        (
            {"instance_lifecycle_config": {"initializer": {"handler": "a", "timeout": 301}}},
            "instance_lifecycle_config.initializer.timeout: must be between 1 and 300 seconds, but is 301",
        ),
        (
            {"instance_lifecycle_config": {"preStop": {"command": ["a"]}}},
            "instance_lifecycle_config.preStop.command: is not supported",
        ),
        (
            {"health_check_config": {"timeoutSeconds": 4}},
            "health_check_config.timeoutSeconds: must be between 1 and 3 seconds, but is 4",
        ),
        (
            {"model": {"path": "x"}, "cpu": 1, "memory_gb": 1},
            "model: give a preset, or `path` and `served_name`",
        ),
        (
            {"model": {"path": "/etc", "served_name": "x"}, "cpu": 1, "memory_gb": 1},
            "model: `path` is relative to the NAS folder and stays in it",
        ),
        (
            {"image": "a:v1.0", "gpu": {"type": "fc.gpu.tesla.1", "cards": 8}},
            "gpu.cards: fc.gpu.tesla.1 comes with at most 4 cards, not 8",
        ),
        (
            {"pool": {"schedules": [{"instances": 1, "cron": "0 0 9 * * *", "at": "2026-01-01T00:00:00"}]}},
            "pool.schedules[0].cron: `cron` and `at` cannot both be given",
        ),
        (
            {"pool": {"schedules": [{"instances": 1}]}},
            "pool.schedules[0].cron: one of `cron` and `at` is required",
        ),
        (
            {"pool": {"schedules": [{"instances": 1, "cron": "0 9 * * *"}]}},
            "pool.schedules[0].cron: cron(...) takes six fields",
        ),
        (
            {"pool": {"schedules": [{"instances": 1, "at": "tomorrow"}]}},
            "pool.schedules[0].at: at(...) takes one moment",
        ),
        (
            {"pool": {"schedules": [{"instances": 1, "cron": "0 0 9 * * *", "time_zone": "Asia/Shanghi"}]}},
            "pool.schedules[0].time_zone: 'Asia/Shanghi' is not a time zone",
        ),
        (
            {"pool": {"schedules": [{"instances": 1, "cron": "0 0 9 * * *", "end": "soon"}]}},
            "pool.schedules[0].end: 'soon' is not a moment",
        ),
    ],
)
def test_a_mistake_between_fields(changes: dict[str, Any], said: str) -> None:
    (line,) = mistakes(chat(**changes))
    assert line.startswith(f"tickover:services.chat.{said}")


def test_all_mistakes_come_at_once_and_sorted() -> None:
    lines = mistakes({"target": "hots", "services": {"b": {"image": "x"}, "a": 3}})
    assert [line.split(": ")[0] for line in lines] == [
        "tickover:services.a",
        "tickover:services.b.image",
        "tickover:services.b.model",
        "tickover:target",
    ]


def test_two_functions_of_one_name_are_refused() -> None:
    lines = mistakes({"services": {"a": CHAT, "b": {**CHAT, "function_name": "a-dev"}}})
    assert lines == [
        'tickover:services.a.function_name: services a and b share "a-dev"',
        'tickover:services.b.function_name: services a and b share "a-dev"',
    ]


def test_two_services_cannot_share_a_domain() -> None:
    named = {**CHAT, "domain": "chat.example.test"}
    assert mistakes({"services": {"a": named, "b": named}})[0] == (
        'tickover:services.a.domain: services a and b share "chat.example.test"'
    )


def test_the_cloud_needs_a_region_a_network_and_an_image() -> None:
    assert mistakes({"target": "cloud", "services": {"chat": CHAT}}) == [
        "tickover:region: required where target is cloud, e.g. cn-hangzhou",
        "tickover:services.chat.image.driver: process runs on a host only, not on the cloud",
        "tickover:services.chat.storage.network: required where target is cloud",
    ]


def test_on_the_cloud_the_platform_decides_who_gets_a_prompt() -> None:
    cloud = {"image": "a:v1.0", "storage": {"network": {**NETWORK}}, "prefix_affinity": True}
    assert mistakes({"target": "cloud", "region": "cn-hangzhou", **chat(**cloud)}) == [
        "tickover:services.chat.prefix_affinity: a setting of a host; the cloud decides this itself, "
        "so leave it out"
    ]


def test_on_the_cloud_the_platform_decides_how_it_idles() -> None:
    cloud = {"image": "a:v1.0", "storage": {"network": {**NETWORK}}}
    config = {"target": "cloud", "region": "cn-hangzhou"}
    assert parse({**config, **chat(**cloud, pool={"idle": True})}, "dev").services["chat"].pool.idle.enabled
    assert mistakes(
        {**config, **chat(**cloud, pool={"idle": {"deepest": "sleep", "max_age_seconds": 60}})}
    ) == [
        f"tickover:services.chat.pool.idle.{key}: a setting of a host; the cloud decides this itself, so "
        "leave it out"
        for key in ("deepest", "max_age_seconds")
    ]


def test_idle_is_a_switch_or_a_map_which_turns_it_on() -> None:
    def pool(idle: Any) -> Any:
        return parse(chat(pool={"idle": idle}), "dev").services["chat"].pool.to_args()

    assert pool(True) == pool({})
    assert (pool(True).idle, pool(False).idle, pool({"linger_seconds": 5}).idle) == (True, False, True)
    assert pool({"linger_seconds": 5, "deepest": "sleep", "sleep_level": 2}).settings.variables() == {
        "TICKOVER_LINGER_SECONDS": "5",
        "TICKOVER_IDLE_DEEPEST": "sleep",
        "TICKOVER_SLEEP_LEVEL": "2",
    }
    aged = pool({"enabled": False, "max_age_seconds": 86_400})
    assert (aged.idle, aged.settings.variables()) == (False, {"TICKOVER_MAX_AGE_SECONDS": "86400"})


VLLM = {"model": "qwen3-8b", "image": "a:v1.0"}


@pytest.mark.parametrize(
    ("service", "target", "is_on"),
    [
        (VLLM, "host", True),
        (VLLM, "cloud", False),
        (VLLM | {"pool": {"idle": False, "reason": "always"}}, "host", False),
        (VLLM | {"pool": {"idle": {"deepest": "freeze"}}}, "host", False),
        (VLLM | {"pool": {"idle": {"deepest": "checkpoint"}}}, "host", True),
        (VLLM | {"gpu": "none"}, "host", False),
        (VLLM | {"sleep_mode": False}, "host", False),
        (VLLM | {"command": ["serve"]}, "host", False),
        (CHAT, "host", False),
        (CHAT | {"gpu": "fc.gpu.ada.1"}, "host", True),
    ],
)
def test_vllm_can_sleep_where_a_hosts_idle_instances_use_it(
    service: dict[str, Any], target: str, is_on: bool
) -> None:
    raw = {"services": {"chat": service}}
    args = parse(raw, "dev").services["chat"].to_args(AuthArgs(), target)
    entrypoint, command = model_argv(args, PRESETS[service["model"]], "m", "/p")
    assert ("--enable-sleep-mode" in command, args.sleep_mode) == (is_on, is_on)
    assert (args.on_vllm, "llama_server" in " ".join(entrypoint)) == (service != CHAT, service == CHAT)


def test_a_process_with_a_gpu_is_vllm_as_installed_on_the_host() -> None:
    raw = chat(gpu="fc.gpu.ada.1", cpu=8, memory_gb=64)
    args = parse(raw, "dev").services["chat"].to_args(AuthArgs(), "host")
    entrypoint, command = model_argv(args, PRESETS["smollm2"], "SmolLM2", "/mnt/models/smollm2")
    assert " ".join((*entrypoint, *command)) == (
        "python3 -m vllm.entrypoints.openai.api_server --enforce-eager --enable-sleep-mode"
        " --model /mnt/models/smollm2 --trust-remote-code --served-model-name SmolLM2"
        " --host 127.0.0.1 --port ${port} --max-model-len 2048 --max-num-seqs 16"
    )


def test_a_service_name_becomes_part_of_a_function_name() -> None:
    assert "lower-case letters" in mistakes({"services": {"Chat Bot": CHAT}})[0]


def test_a_model_of_ones_own_says_its_size() -> None:
    own = {"model": {"path": "mine", "served_name": "mine"}, "image": "a:v1.0"}
    assert mistakes({"services": {"chat": own}}) == [
        "tickover:services.chat.cpu: required for a model of your own",
        "tickover:services.chat.memory_gb: required for a model of your own",
    ]


def test_short_forms_mean_the_same_as_long_ones() -> None:
    short = chat(image="a/b:v1.0", gpu="fc.gpu.ada.1", domain="a.b", auth="function")
    long = chat(
        model={"preset": "smollm2"},
        image={"reference": "a/b:v1.0"},
        gpu={"type": "fc.gpu.ada.1"},
        domain={"name": "a.b"},
        auth={"type": "function"},
    )
    assert parse(short, "dev") == parse(long, "dev")


def test_gpu_memory_defaults_to_all_of_all_cards() -> None:
    config = parse(chat(image="a:v1.0", gpu={"type": "fc.gpu.ada.1", "cards": 2}), "dev")
    gpu = config.services["chat"].gpu
    assert gpu is not None
    assert getattr(gpu.to_args(), "memory_gb") == 96  # noqa: B009 - the other arm of the union has none
    assert parse(chat(image="a:v1.0", gpu="none"), "dev").services["chat"].gpu.to_args() == "none"


def test_a_value_of_the_wrong_type_in_the_environment_is_not_repeated_as_text() -> None:
    (line,) = mistakes(chat(environment={"TOKEN": ["s3cret"]}))
    assert "s3cret" not in line


def test_health_check_and_hooks_reach_the_function_in_fcs_own_names() -> None:
    hooks = {
        "initializer": {"command": ["warm"], "timeout": 300},
        "preStop": {"handler": "bye", "timeout": 9},
    }
    config = parse(chat(health_check_config={"periodSeconds": 9}, instance_lifecycle_config=hooks), "dev")
    args = config.services["chat"].to_args(AuthArgs(), "host")
    assert args.health_check_config == {"periodSeconds": 9} and args.instance_lifecycle_config == hooks
