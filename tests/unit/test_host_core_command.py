"""A spec as a local process: words, environment, mounts."""

from pathlib import Path

import pytest

from tests.support.host_core import function
from tickover.fc.function import Function
from tickover.host.runtimes.base import LaunchPlan, RuntimeFailed
from tickover.host.runtimes.command import build, is_mountable, move

BIN = Path("/venv/bin")
HOST_ENV = {
    "PATH": "/usr/bin",
    "HOME": "/home/me",
    "LC_ALL": "C",
    "CUDA_VISIBLE_DEVICES": "0",
    "HF_TOKEN": "token-of-mine",
    "PULUMI_CONFIG_PASSPHRASE": "phrase-of-mine",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret-of-mine",
}


def plan(spec, nas=None):
    return LaunchPlan("i-1", spec, 4321, nas or {}, Path("/logs/i-1.log"), Path("/data"))


def test_the_port_goes_into_words_and_variables():
    spec = function("--words", "a${port}b", env={"URL": "http://127.0.0.1:${port}/"})
    command = build(plan(spec), HOST_ENV, BIN, can_mount=True)
    assert command.argv[2:] == ("--port", "4321", "--words", "a4321b")
    assert command.env["URL"] == "http://127.0.0.1:4321/"
    assert (command.env["PORT"], command.env["FC_SERVER_PORT"]) == ("4321", "4321")
    assert command.env["TICKOVER_INSTANCE_ID"] == "i-1"


def test_no_secret_of_the_host_reaches_an_instance():
    env = build(plan(function(env={"MINE": "1"})), HOST_ENV, BIN, can_mount=True).env
    assert not any("of-mine" in value for value in env.values())
    assert (env["HOME"], env["LC_ALL"], env["CUDA_VISIBLE_DEVICES"], env["MINE"]) == (
        "/home/me",
        "C",
        "0",
        "1",
    )
    assert env["PATH"] == "/venv/bin:/usr/bin"


def test_a_path_of_the_function_still_finds_the_hosts_tools():
    env = build(plan(function(env={"PATH": "/opt/bin"})), HOST_ENV, BIN, can_mount=True).env
    assert env["PATH"] == "/venv/bin:/opt/bin"


def test_variables_do_not_show_in_text():
    command = build(plan(function(env={"KEY": "value-to-hide"})), HOST_ENV, BIN, can_mount=True)
    assert "value-to-hide" not in repr(command)
    assert "value-to-hide" not in repr(plan(function(env={"KEY": "value-to-hide"})))


def test_a_nas_folder_is_mounted_or_named_by_its_real_place(tmp_path):
    (tmp_path / "models").mkdir()
    target = f"{tmp_path}/mnt/models"
    spec = function("--words", f"{target}/a.gguf", env={"MODEL": target}, mounts=(("local:/models", target),))
    mounted = build(plan(spec, {"local": tmp_path}), HOST_ENV, BIN, can_mount=True)
    assert mounted.mounts == ((f"{tmp_path}/models", target),)
    assert mounted.argv[-1] == f"{target}/a.gguf"
    moved = build(plan(spec, {"local": tmp_path}), HOST_ENV, BIN, can_mount=False)
    assert moved.mounts == ()
    assert moved.argv[-1] == f"{tmp_path}/models/a.gguf"
    assert moved.env["MODEL"] == f"{tmp_path}/models"


def test_a_mount_right_below_the_root_is_named_by_its_real_place(tmp_path):
    spec = function("--words", "/no-such-root-folder/x", mounts=(("local:/", "/no-such-root-folder"),))
    command = build(plan(spec, {"local": tmp_path}), HOST_ENV, BIN, can_mount=True)
    assert (command.mounts, command.argv[-1]) == ((), f"{tmp_path}/x")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/mnt/m", "/real"),
        ("/mnt/m/a/b", "/real/a/b"),
        ("--model=/mnt/m/a", "--model=/real/a"),
        ("/mnt/mirror", "/mnt/mirror"),
        ("--model", "--model"),
        ("x=/mnt/m", "x=/mnt/m"),
        ("see /mnt/m", "see /mnt/m"),
    ],
)
def test_move(word, expected):
    assert move(word, [("/real", "/mnt/m")]) == expected


def test_where_a_mount_can_be_put(tmp_path):
    (tmp_path / "file").write_text("")
    assert is_mountable(str(tmp_path))
    assert is_mountable(str(tmp_path / "not" / "there"))
    assert not is_mountable(str(tmp_path / "file"))
    assert not is_mountable("/not-there-at-all")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("other:/models", "NAS 'other' is not known"),
        ("local:/absent", "does not exist on this host"),
    ],
)
def test_a_mount_that_cannot_be_is_said(tmp_path, server, said):
    spec = function(mounts=((server, "/mnt/models"),))
    with pytest.raises(RuntimeFailed, match=said):
        build(plan(spec, {"local": tmp_path}), HOST_ENV, BIN, can_mount=True)


def test_a_spec_without_words_is_said():
    spec = Function.model_validate(
        {
            "functionName": "f",
            "runtime": "custom-container",
            "handler": "x",
            "customContainerConfig": {"image": "process://local"},
        }
    )
    with pytest.raises(RuntimeFailed, match="neither an entrypoint nor a command"):
        build(plan(spec), HOST_ENV, BIN, can_mount=True)
