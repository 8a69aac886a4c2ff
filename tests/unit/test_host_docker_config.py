"""What a spec becomes as a container, and what an engine's refusals mean: pure functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docker_runtime import credentials, spec
from tickover.host.runtimes import docker_faults
from tickover.host.runtimes.base import Condition, ExitStatus, Gpu, LaunchPlan, RuntimeFailed
from tickover.host.runtimes.docker import DockerRuntime
from tickover.host.runtimes.docker_config import (
    DockerSettings,
    EngineFacts,
    container_body,
    device_request,
    engine_address,
    limits,
    shm_bytes,
    spec_digest,
)
from tickover.host.runtimes.docker_engine import split_frame, stamp_ns
from tickover.host.runtimes.docker_faults import Kind, away, refusal
from tickover.host.runtimes.docker_images import check_architecture, pin_of, registry_name, repository_of
from tickover.host.runtimes.docker_watch import condition_of, exit_status

FACTS = EngineFacts("20.10", "amd64", 8)
GPU = {"gpuConfig": {"gpuType": "fc.gpu.ada.2", "gpuMemorySize": 49152}}


def body(function, folder=Path("/nowhere"), gpus=None):
    plan = LaunchPlan("i-1", function, 20001, {"local": folder}, Path("/logs/i-1.log"), folder, gpus)
    return container_body(plan, DockerSettings("/data"), FACTS)


def test_the_port_word_is_the_containers_port_in_words_and_variables():
    made = body(spec(words=("--port", "${port}"), environmentVariables={"URL": "http://:${port}"}))
    assert made["Cmd"] == ["--port", "9123"] and "URL=http://:9123" in made["Env"]
    assert made["HostConfig"]["PortBindings"] == {"9123/tcp": [{"HostIp": "127.0.0.1", "HostPort": "20001"}]}
    default = body(spec(container={"port": None}))
    assert list(default["ExposedPorts"]) == ["9000/tcp"] and "PORT=9000" in default["Env"]


@pytest.mark.parametrize("given", [{"entrypoint": None}, {"command": None}, {"command": []}])
def test_words_that_are_not_given_are_left_to_the_image(given):
    made = body(spec(container={"entrypoint": ["a"], "command": ["b"], **given}))
    assert ("Entrypoint" in made, "Cmd" in made) == (given != {"entrypoint": None}, "entrypoint" in given)


def test_nothing_can_be_taken_from_the_walls_of_a_container():
    made = body(spec(image="app:1"))
    host = made["HostConfig"]
    assert host["CapDrop"] == ["ALL"] and "CapAdd" not in host and host["Privileged"] is False
    assert host["SecurityOpt"] == ["no-new-privileges:true"] and host["NetworkMode"] == "bridge"
    assert made["Healthcheck"] == {"Test": ["NONE"]} and host["RestartPolicy"]["Name"] == "no"


def test_limits_are_the_specs_within_the_machine():
    assert limits(spec(cpu=0.35, memorySize=1024), FACTS) == {
        "NanoCpus": 350_000_000,
        "Memory": 1024**3,
        "MemorySwap": 1024**3,
    }
    assert limits(spec(cpu=16, memorySize=65536), FACTS)["NanoCpus"] == 8 * 10**9
    assert limits(spec(cpu=None, memorySize=None), FACTS) == {}


@pytest.mark.parametrize("text, size", [("", None), (" ", None), ("1073741824", 1073741824)])
def test_shared_memory_is_a_number_of_bytes(text, size):
    assert shm_bytes(spec(environmentVariables={"FCGPU_RUNTIME_SHMSIZE": text})) == size


@pytest.mark.parametrize("text", ["1g", "-1", "0", "1.5", "٣"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(RuntimeFailed, match="FCGPU_RUNTIME_SHMSIZE must be a number of bytes"):
        shm_bytes(spec(environmentVariables={"FCGPU_RUNTIME_SHMSIZE": text}))


def test_cards_are_asked_for_only_by_functions_with_a_gpu():
    assert device_request(spec(), ["GPU-1"]) is None
    assert "DeviceRequests" not in body(spec())["HostConfig"]
    assert device_request(spec(**GPU)) == {"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}
    made = body(spec(**GPU), gpus=(Gpu(0, "GPU-1"), Gpu(1, "GPU-2")))["HostConfig"]["DeviceRequests"]
    assert made == [{"Driver": "", "DeviceIDs": ["GPU-1", "GPU-2"], "Capabilities": [["gpu"]]}]


def test_mounts_are_read_only_and_real(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "link").symlink_to("models")
    points = [{"serverAddr": "local:/link", "mountDir": "/mnt/models/"}]
    made = body(spec(nasConfig={"mountPoints": points}), tmp_path)["HostConfig"]["Mounts"]
    assert made == [
        {"Type": "bind", "Source": f"{tmp_path}/models", "Target": "/mnt/models", "ReadOnly": True}
    ]


def test_the_digest_of_a_spec_knows_what_makes_another_container_and_no_password():
    first = spec(container={"registryConfig": credentials("one")})
    assert spec_digest(first) == spec_digest(spec(container={"registryConfig": credentials("two")}))
    others = [spec(), spec(image="app:2"), spec(environmentVariables={"A": "1"}), spec(cpu=1), spec(**GPU)]
    assert len({spec_digest(other) for other in others}) == len(others)


def test_no_password_is_in_a_body_or_in_its_labels():
    assert "hunter-twelve" not in str(body(spec(container={"registryConfig": credentials("hunter-twelve")})))


def test_what_images_are_of_this_runtime():
    runtime = DockerRuntime(DockerSettings("/data"))
    assert runtime.accepts("app:1") and runtime.accepts("sha256:00")
    assert not runtime.accepts("process://local") and not runtime.accepts("")
    assert engine_address({}) == "unix:///var/run/docker.sock"
    assert engine_address({"DOCKER_HOST": "unix:///x"}) == "unix:///x"


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, full, repository",
    [
        ("app", "docker.io/library/app", "app"),
        ("vllm/vllm-openai:v1", "docker.io/vllm/vllm-openai:v1", "vllm/vllm-openai"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("r.test:5000/a/b@sha256:00", "r.test:5000/a/b@sha256:00", "r.test:5000/a/b"),
        ("r.test:5000/a:1@sha256:00", "r.test:5000/a:1@sha256:00", "r.test:5000/a"),
    ],
)
def test_names_of_images(name, full, repository):
    assert registry_name(name) == full and repository_of(name) == repository


def test_an_image_is_pinned_by_the_digest_of_its_own_repository_or_by_its_id():
    image = {"Id": "sha256:id", "RepoDigests": ["other/app@sha256:1", "vllm/vllm-openai@sha256:2"]}
    assert pin_of(image, "vllm/vllm-openai:v1") == "vllm/vllm-openai@sha256:2"
    assert pin_of(image, "docker.io/other/app") == "other/app@sha256:1"
    assert pin_of(image, "local-build:1") == pin_of({"Id": "sha256:id"}, "x") == "sha256:id"


def test_an_image_of_another_processor():
    check_architecture({"Architecture": "amd64"}, "app", FACTS)
    check_architecture({}, "app", FACTS)
    with pytest.raises(RuntimeFailed, match="image app is made for arm64 and this machine is amd64"):
        check_architecture({"Architecture": "arm64"}, "app", FACTS)


# -- what the engine says ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, kind",
    [
        ("write /var/lib/docker/tmp/x: no space left on device", Kind.DISK_FULL),
        ("failed to register layer: Error processing tar file: no space left on device", Kind.DISK_FULL),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", Kind.ARCHITECTURE),
        ('could not select device driver "" with capabilities: [[gpu]]', Kind.NO_GPU),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", Kind.NO_GPU),
        ('exec: "vllm": executable file not found in $PATH: unknown', Kind.COMMAND_ABSENT),
        ('exec: "/bin/x": stat /bin/x: no such file or directory: unknown', Kind.COMMAND_ABSENT),
        ('exec: "/etc": permission denied: unknown', Kind.COMMAND_UNUSABLE),
        ("Bind for 127.0.0.1:8000 failed: port is already allocated", Kind.PORT_TAKEN),
        ("pull access denied for x, repository does not exist or may require 'docker login'", Kind.DENIED),
        ('Head "https://r.test/v2/a/manifests/1": no basic auth credentials', Kind.DENIED),
        ("unauthorized: authentication required", Kind.DENIED),
        ("manifest for r.test/a:9 not found: manifest unknown: manifest unknown", Kind.IMAGE_ABSENT),
        ("No such image: app:1", Kind.IMAGE_ABSENT),
        ('Get "https://r.test/v2/": dial tcp: lookup r.test: no such host', Kind.REGISTRY_AWAY),
        ('Get "https://r.test/v2/": x509: certificate signed by unknown authority', Kind.REGISTRY_AWAY),
        ('Get "https://r.test/v2/": net/http: TLS handshake timeout', Kind.REGISTRY_AWAY),
        ("executable file `x` not found in $PATH: No such file or directory", Kind.COMMAND_ABSENT),
        ("unable to start: error mounting /a to rootfs at /b: no such file or directory", Kind.OTHER),
        ("the moon is full", Kind.OTHER),
    ],
)
def test_refusals_have_a_meaning(said, kind):
    error = refusal(500, said, "image app:1")
    assert error.kind is kind and error.status == 500
    assert "image app:1" in error.reason and said.split(":")[-1].strip() in error.reason
    assert kind is Kind.OTHER or "{" not in error.reason


def test_every_meaning_is_met_by_its_own_words_only_once():
    kinds = [meaning.kind for meaning in docker_faults.MEANINGS]
    assert sorted(k.name for k in kinds) == sorted(k.name for k in Kind if k is not Kind.OTHER)


def test_secrets_are_masked_the_longest_first():
    error = refusal(
        400, "bad variable TOKEN=abc-secret-xyz and abc-secret", "x", ("abc-secret", "abc-secret-xyz")
    )
    assert "abc" not in error.reason and error.reason.count("[secret]") == 2


def test_an_engine_that_is_away_says_what_helps():
    gone = away("unix:///x", "Cannot connect via http://docker [Cannot connect to x [No such file]]")
    assert gone.reason == (
        "the Docker engine at unix:///x does not answer: No such file "
        "(is it running? sudo systemctl start docker)"
    )
    assert "usermod -aG docker" in away("unix:///x", "[Permission denied]").reason


# -- what it tells of a container --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status, condition",
    [
        ("running", Condition.RUNNING),
        ("paused", Condition.FROZEN),
        ("created", Condition.GONE),
        ("exited", Condition.GONE),
        ("dead", Condition.GONE),
        ("removing", Condition.GONE),
    ],
)
def test_conditions(status, condition):
    assert condition_of({"State": {"Status": status}}) is condition
    assert condition_of(None) is Condition.GONE


@pytest.mark.parametrize(
    "state, status",
    [
        ({"Status": "exited", "ExitCode": 0}, ExitStatus(code=0)),
        ({"Status": "exited", "ExitCode": 127}, ExitStatus(code=127)),
        ({"Status": "exited", "ExitCode": 137}, ExitStatus(signal="SIGKILL")),
        ({"Status": "exited", "ExitCode": 143}, ExitStatus(signal="SIGTERM")),
        ({"Status": "exited", "ExitCode": 255}, ExitStatus(code=255)),
        ({"Status": "created", "ExitCode": 0}, ExitStatus()),
    ],
)
def test_exit_codes(state, status):
    assert exit_status(state) == status


def test_times_of_log_entries_are_exact():
    assert stamp_ns("1970-01-01T00:00:01.000000002Z") == 1_000_000_002
    assert stamp_ns("2026-11-23T08:00:00.5Z") - stamp_ns("2026-11-23T08:00:00Z") == 500_000_000
    assert split_frame(b"1970-01-01T00:00:00.000000007Z two words\n") == (7, b"two words\n")
    with pytest.raises(ValueError):
        stamp_ns("soon")
