"""What a function can and cannot be: every limit, with its path and words."""

from __future__ import annotations

import pytest

from tests.support.fc_examples import CPU, GPU, TWO_CARDS, said
from tickover.fc import concurrency, function
from tickover.fc.gpu import CATALOGUE
from tickover.fc.validate import InvalidResource, parse, violations


def test_snake_case_is_the_same_resource():
    snake = {
        "function_name": "chat-dev",
        "runtime": "custom-container",
        "handler": "not-used",
        "cpu": 2.0,
        "memory_size": 4096.0,
        "disk_size": 512,
        "custom_container_config": {"image": "process://local", "command": ["serve"], "port": None},
        "custom_dns": None,
    }
    assert parse(function.Function, snake).to_wire() == CPU


def test_everything_that_is_wrong_is_said_at_once_in_order():
    wire = {
        "functionname": "x",
        "functionName": "9x",
        "runtime": "custom_container",
        "cpu": 2,
        "memorySize": 100_000,
        "diskSize": 700,
        "instanceConcurrency": 500,
        "customContainerConfig": {"imagee": "x", "healthCheckConfig": {"timeoutSeconds": 9}},
        "nasConfig": {
            "mountPoints": [
                {"serverAddr": "x", "mountDir": "/mnt/a"},
                {"serverAddr": "y:/", "mountDir": "/mnt/a/"},
                3,
            ]
        },
        "environmentVariables": {"A": 5, "b-c": "x"},
        "internetAccess": "yes",
    }
    found = violations(function.Function, wire)
    assert [v.path for v in found] == [
        "customContainerConfig.healthCheckConfig.timeoutSeconds",
        "customContainerConfig.image",
        "customContainerConfig.imagee",
        "diskSize",
        "environmentVariables.A",
        "environmentVariables.b-c",
        "functionName",
        "functionname",
        "handler",
        "instanceConcurrency",
        "internetAccess",
        "memorySize",
        "nasConfig.mountPoints[0].serverAddr",
        "nasConfig.mountPoints[1].mountDir",
        "nasConfig.mountPoints[2]",
        "runtime",
    ]
    messages = {v.path: v.message for v in found}
    assert (
        messages["functionname"] == "functionname is not a property of Function; did you mean functionName?"
    )
    assert messages["handler"] == "handler is required."
    assert messages["instanceConcurrency"] == "instanceConcurrency must be between 1 and 200, but is 500."
    assert messages["internetAccess"] == "internetAccess must be true or false, but is a text."
    assert messages["runtime"].endswith("'custom_container'; did you mean custom-container?")


def test_an_invalid_resource_is_raised_with_all_violations():
    with pytest.raises(InvalidResource) as caught:
        parse(concurrency.ConcurrencyConfig, {"functionName": "a b", "reservedConcurrency": -1})
    assert [v.path for v in caught.value.violations] == ["functionName", "reservedConcurrency"]
    assert "  reservedConcurrency: reservedConcurrency must be between 0 and 10000" in str(caught.value)


@pytest.mark.parametrize("wire", [None, 3, "text", []])
def test_what_is_no_object(wire):
    assert [v.path for v in violations(function.Function, wire)] == [""]


BAD_FUNCTION = [
    ({"functionName": "a" * 65}, "functionName", "1 to 64 characters, but has 65"),
    ({"functionName": "-a"}, "functionName", "not start with a digit or -"),
    ({"runtime": "python3.12"}, "runtime", "must be custom-container"),
    ({"cpu": 0.07}, "cpu", "in steps of 0.05, but is 0.07"),
    ({"cpu": True}, "cpu", "must be a number"),
    ({"cpu": "2"}, "cpu", "must be a number"),
    ({"cpu": float("nan")}, "cpu", "but is nan"),
    ({"cpu": 17, "memorySize": 32768}, "cpu", "at most 16 without a GPU"),
    ({"memorySize": 1024}, "memorySize", "2048 to 8192 MB for 2 vCPU, but is 1024"),
    ({"memorySize": 8256}, "memorySize", "2048 to 8192 MB for 2 vCPU, but is 8256"),
    ({"memorySize": 4100}, "memorySize", "the nearest is 4096 or 4160"),
    ({"memorySize": 65536, "cpu": 16}, "memorySize", "between 128 and 32768 MB without a GPU"),
    ({"memorySize": None}, "memorySize", "must be given together with cpu"),
    ({"cpu": None}, "cpu", "must be given together with memorySize"),
    ({"diskSize": 1024}, "diskSize", "512 or 10240 MB without a GPU"),
    ({"timeout": 86401}, "timeout", "between 1 and 86400 seconds"),
    ({"timeout": 0.5}, "timeout", "a whole number"),
    ({"instanceConcurrency": 0}, "instanceConcurrency", "between 1 and 200"),
    ({"idleTimeout": 60}, "idleTimeout", "between 300 and 3600 seconds"),
    ({"customContainerConfig": None}, "customContainerConfig", "is required by runtime custom-container"),
    ({"customContainerConfig": {}}, "customContainerConfig.image", "is required"),
    ({"customContainerConfig": {"image": ""}}, "customContainerConfig.image", "must not be empty"),
    ({"customContainerConfig": {"image": "a b"}}, "customContainerConfig.image", "without blanks"),
    (
        {"customContainerConfig": {"image": "u:p@r/x:1"}},
        "customContainerConfig.image",
        "not carry credentials",
    ),
    ({"customContainerConfig": {"image": "x", "port": 65536}}, "customContainerConfig.port", "1 and 65535"),
    (
        {"customContainerConfig": {"image": "x", "accelerationType": "default"}},
        "customContainerConfig.accelerationType",
        "did you mean Default?",
    ),
    (
        {"customContainerConfig": {"image": "x", "command": "serve"}},
        "customContainerConfig.command",
        "must be a list, but is a text",
    ),
    (
        {"customContainerConfig": {"image": "x", "command": ["serve", 1]}},
        "customContainerConfig.command[1]",
        "must be a text, but is a number",
    ),
    (
        {"customContainerConfig": {"image": "x", "healthCheckConfig": {"httpGetUrl": "health"}}},
        "customContainerConfig.healthCheckConfig.httpGetUrl",
        "a path that starts with /",
    ),
    ({"nasConfig": {"groupId": 65535}}, "nasConfig.groupId", "between 0 and 65534"),
    (
        {"nasConfig": {"mountPoints": [{"serverAddr": "local:/m", "mountDir": "mnt"}]}},
        "nasConfig.mountPoints[0].mountDir",
        "an absolute path",
    ),
    (
        {"nasConfig": {"mountPoints": [{"serverAddr": "local:/m", "mountDir": "/mnt/../etc"}]}},
        "nasConfig.mountPoints[0].mountDir",
        "without .. in it",
    ),
    (
        {"nasConfig": {"mountPoints": [{"serverAddr": "local:/m", "mountDir": "/usr/"}]}},
        "nasConfig.mountPoints[0].mountDir",
        "must not be the system folder /usr",
    ),
    (
        {
            "nasConfig": {
                "mountPoints": [{"serverAddr": "local:/m", "mountDir": f"/mnt/{n}"} for n in range(6)]
            }
        },
        "nasConfig.mountPoints",
        "at most 5 mount points, but has 6",
    ),
    (
        {
            "nasConfig": {
                "mountPoints": [{"serverAddr": "x.cn-hangzhou.nas.aliyuncs.com:/m", "mountDir": "/m"}]
            }
        },
        "vpcConfig",
        "is required to reach the NAS",
    ),
    (
        {
            "nasConfig": {"mountPoints": [{"serverAddr": "local:/m", "mountDir": "/mnt/a"}]},
            "ossMountConfig": {"mountPoints": [{"bucketName": "bucket", "mountDir": "/mnt/a"}]},
        },
        "ossMountConfig.mountPoints[0].mountDir",
        "must differ from nasConfig.mountPoints[0].mountDir",
    ),
    (
        {"vpcConfig": {"vpcId": "vpc-1", "vSwitchIds": [], "securityGroupId": "sg-1"}},
        "vpcConfig.vSwitchIds",
        "at least one vSwitch",
    ),
    ({"environmentVariables": {"1A": "x"}}, "environmentVariables.1A", "does not start with a digit"),
    ({"layers": list("abcdef")}, "layers", "at most 5 layers"),
    ({"tags": [{"Key": "a"}, {"Key": "a"}]}, "tags[1].Key", "must not repeat the key 'a'"),
    ({"logConfig": {"project": "p"}}, "logConfig.logstore", "must be given together with project"),
    ({"logConfig": {"logBeginRule": "Regex"}}, "logConfig.logBeginRule", "None or DefaultRegex"),
    (
        {"instanceLifecycleConfig": {"initializer": {"timeout": 301}}},
        "instanceLifecycleConfig.initializer.timeout",
        "between 1 and 300 seconds",
    ),
    (
        {"instanceLifecycleConfig": {"initializer": {"handler": "h", "command": ["c"]}}},
        "instanceLifecycleConfig.initializer.command",
        "cannot be given together with handler",
    ),
    (
        {"instanceLifecycleConfig": {"preStop": {"timeout": 91}}},
        "instanceLifecycleConfig.preStop.timeout",
        "between 1 and 90 seconds",
    ),
    ({"sessionAffinity": "COOKIE"}, "sessionAffinity", "GENERATED_COOKIE"),
    ({"sessionAffinity": "HEADER_FIELD"}, "sessionAffinityConfig", "is required by HEADER_FIELD"),
    ({"sessionAffinityConfig": "{}"}, "sessionAffinityConfig", "only used together with a sessionAffinity"),
    (
        {"sessionAffinity": "MCP_SSE", "sessionAffinityConfig": "{"},
        "sessionAffinityConfig",
        "does not parse at line 1",
    ),
    (
        {"sessionAffinity": "MCP_SSE", "sessionAffinityConfig": "[]"},
        "sessionAffinityConfig",
        "but is another JSON value",
    ),
    (
        {
            "sessionAffinity": "HEADER_FIELD",
            "sessionAffinityConfig": '{"affinityHeaderFieldName": "x-fc-session"}',
        },
        "sessionAffinityConfig.affinityHeaderFieldName",
        "not with x-fc-",
    ),
    (
        {"sessionAffinity": "GENERATED_COOKIE", "sessionAffinityConfig": '{"sessionTTLInSeconds": 0}'},
        "sessionAffinityConfig.sessionTTLInSeconds",
        "between 1 and 21600 seconds",
    ),
    ({"instanceIsolationMode": "share"}, "instanceIsolationMode", "did you mean SHARE?"),
    ({"disableInjectCredentials": "No"}, "disableInjectCredentials", "None, Env, Request or All"),
]


@pytest.mark.parametrize(
    ("change", "path", "words"),
    BAD_FUNCTION,
    ids=[f"{path}-{n}" for n, (_, path, _) in enumerate(BAD_FUNCTION)],
)
def test_what_a_function_cannot_be(change, path, words):
    found = said(function.Function, {**CPU, **change})
    assert list(found) == [path]
    assert words in found[path]


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        (
            {"gpuConfig": {"gpuType": "fc.gpu.ada1", "gpuMemorySize": 49152}},
            "gpuConfig.gpuType",
            "did you mean fc.gpu.ada.1?",
        ),
        (
            {"gpuConfig": {"gpuType": "g1", "gpuMemorySize": 16384}},
            "gpuConfig.gpuType",
            "write fc.gpu.tesla.1",
        ),
        ({"gpuConfig": {"gpuType": "fc.gpu.ada.1"}}, "gpuConfig.gpuMemorySize", "is required"),
        (
            {"gpuConfig": {"gpuType": "fc.gpu.ada.1", "gpuMemorySize": 24576}},
            "gpuConfig.gpuMemorySize",
            "the nearest is 49152",
        ),
        (
            {"gpuConfig": {"gpuType": "fc.gpu.ada.1", "gpuMemorySize": 9 * 49152}},
            "gpuConfig.gpuMemorySize",
            "each of 1 to 8 cards",
        ),
        ({"cpu": 6}, "cpu", "must be 4, 8 or 16 with fc.gpu.ada.1, but is 6"),
        ({"cpu": 8.5}, "cpu", "must be 4, 8 or 16"),
        ({"cpu": None}, "cpu", "is required with a GPU"),
        ({"memorySize": None}, "memorySize", "is required with a GPU"),
        ({"memorySize": 28672}, "memorySize", "32768 to 65536 MB (32 to 64 GB)"),
        ({"memorySize": 34816}, "memorySize", "in steps of 4096"),
        ({"diskSize": 10304}, "diskSize", "10240 to 204800 MB in steps of 10240"),
        (
            {**TWO_CARDS, "memorySize": 16384},
            "memorySize",
            "32768 to 65536 MB (32 to 64 GB) in steps of 4096 with 2 x fc.gpu.ada.1",
        ),
        ({**TWO_CARDS, "cpu": 4}, "cpu", "must be 8, 16 or 32 with 2 x fc.gpu.ada.1"),
    ],
)
def test_what_a_gpu_function_cannot_be(change, path, words):
    found = said(function.Function, {**GPU, **change})
    assert list(found) == [path]
    assert words in found[path]


def test_a_gpu_function_may_have_a_large_disk():
    assert violations(function.Function, {**GPU, "diskSize": 204800}) == ()


@pytest.mark.parametrize("card", CATALOGUE.values(), ids=lambda card: card.name)
def test_every_size_of_the_catalogue_is_accepted_and_its_neighbours_are_not(card):
    for cards in {1, card.max_cards}:
        for cpu, (low, high) in card.memory_gb_per_card.items():
            for gb, is_allowed in ((low, True), (high, True), (low - 1, False), (high + 4, False)):
                wire = {
                    **GPU,
                    "cpu": cpu * cards,
                    "memorySize": gb * cards * 1024,
                    "gpuConfig": {"gpuType": card.name, "gpuMemorySize": card.vram_mb * cards},
                }
                assert (violations(function.Function, wire) == ()) is is_allowed, (cards, cpu, gb)


def test_unknown_values_are_not_judged_and_everything_else_is():
    wire = {k: v for k, v in GPU.items() if k not in ("functionName", "gpuConfig", "customContainerConfig")}
    unknown = ("functionName", "gpuConfig", "customContainerConfig", "nasConfig.mountPoints[0].serverAddr")
    wire |= {"timeout": 0, "nasConfig": {"mountPoints": [{"mountDir": "/mnt/a"}]}}
    assert [v.path for v in violations(function.Function, wire, unknown)] == ["timeout"]


def test_an_unknown_gpu_does_not_make_it_a_cpu_function():
    wire = {**GPU, "cpu": 24, "gpuConfig": {"gpuType": "?", "gpuMemorySize": 1}}
    assert violations(function.Function, wire, ("gpuConfig",)) == ()


@pytest.mark.parametrize("config", ["{}", '{"sessionIdleTimeoutInSeconds": 5}'])
def test_a_config_is_not_judged_by_an_affinity_that_is_unknown_or_wrong(config):
    wire = {**CPU, "sessionAffinityConfig": config}
    assert violations(function.Function, wire, ("sessionAffinity",)) == ()
    assert list(said(function.Function, {**wire, "sessionAffinity": "COOKIES"})) == ["sessionAffinity"]


def test_a_wrong_value_is_not_also_called_missing():
    assert list(said(function.Function, {**GPU, "memorySize": "64 GB", "diskSize": 700})) == [
        "diskSize",
        "memorySize",
    ]
