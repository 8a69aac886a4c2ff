"""Arguments that exclude or need each other: both names in the message, nothing registered."""

from __future__ import annotations

import pytest

from components.checks import at_most_one, needs, required
from components.image import RegistryImage, RegistryImageArgs
from components.schedule import Schedule, ScheduleArgs, TimetableEntry
from components.service import ModelArgs, VllmService, VllmServiceArgs, model_argv
from components.storage import NasMount, NasMountArgs
from tickover.errors import ConfigError

IMAGE = RegistryImageArgs(reference="vllm/vllm-openai:v0.32.0")
PROCESS = RegistryImageArgs(process=True)
NAS = NasMountArgs("local:/models")


def test_the_first_two_given_arguments_are_named() -> None:
    at_most_one("x", a=None, b="", c=(), d=1)
    with pytest.raises(ConfigError) as caught:
        at_most_one("x", a=None, b=1, c=2, d=3)
    assert "`b` and `c` cannot both be given" in caught.value.detail
    assert caught.value.address == "x"


def test_one_argument_may_need_another() -> None:
    needs("x", ("a", None), ("b", None))
    needs("x", ("a", 1), ("b", 1))
    with pytest.raises(ConfigError, match="`a` needs `b` as well"):
        needs("x", ("a", 1), ("b", None))


def test_a_required_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="`b` is required"):
        required("x", a=1, b=0)


# Each of these fails before a resource is registered, so no engine is needed.
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: RegistryImage("i", RegistryImageArgs(reference="a:v1.0", process=True)),
            "`reference` and `process` cannot both be given",
        ),
        (lambda: RegistryImage("i", RegistryImageArgs()), "is not a repository"),
        (lambda: RegistryImage("i", RegistryImageArgs(reference="a")), "which means latest"),
        (lambda: NasMount("n", NasMountArgs("/models")), "`server_address` must be <mount target>:/path"),
        (lambda: NasMount("n", NasMountArgs("local:/m", "mnt")), "`mount_dir` must be an absolute path"),
        (lambda: NasMount("n", NasMountArgs("local:/m", "/")), "`mount_dir` must be an absolute path"),
        (
            lambda: Schedule("s", ScheduleArgs((TimetableEntry(1), TimetableEntry(1, cron="x", at="y")))),
            "entries[0].cron: one of `cron` and `at` is required; "
            "entries[1].cron: `cron` and `at` cannot both be given.",
        ),
        (lambda: VllmService("v", VllmServiceArgs("smolm2", IMAGE, NAS)), "did you mean smollm2?"),
        (
            lambda: VllmService(
                "v", VllmServiceArgs("smollm2", IMAGE, NAS, command=("a",), extra_args=("b",))
            ),
            "`command` and `extra_args` cannot both be given",
        ),
    ],
)
def test_a_component_refuses(make, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in caught.value.detail


def test_the_argv_of_a_model_of_ones_own() -> None:
    args = VllmServiceArgs(
        ModelArgs("mine", "Mine"),
        IMAGE,
        NAS,
        port=9000,
        enforce_eager=False,
        trust_remote_code=False,
        instance_concurrency=32,
        extra_args=("--dtype", "bfloat16"),
    )
    entrypoint, command = model_argv(args, None, "Mine", "/mnt/models/mine")
    assert entrypoint == ("python3", "-m", "vllm.entrypoints.openai.api_server")
    assert " ".join(command) == (
        "--model /mnt/models/mine --served-model-name Mine --host 0.0.0.0 --port 9000"
        " --max-num-seqs 32 --dtype bfloat16"
    )


def test_a_command_of_ones_own_is_taken_whole() -> None:
    args = VllmServiceArgs("smollm2", PROCESS, NAS, command=("serve", "${port}"))
    assert model_argv(args, None, "m", "/p") == ((), ("serve", "${port}"))
