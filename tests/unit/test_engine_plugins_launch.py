"""The command line, folder and environment that a plugin gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickover.engine.plugins.launch import Surroundings, launch_of
from tickover.engine.plugins.locate import Found, Way
from tickover.errors import TickoverError

PYTHON = Path("/venv/bin/python")
ENGINE = "127.0.0.1:1234"


def around(root: Path, **environ: str) -> Surroundings:
    return Surroundings(root, PYTHON, environ, "shop", {"virtualenv": ".venv"}, "{}")


def folder(tmp_path: Path, manifest: str, **files: str) -> Found:
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    (plugin / "PulumiPlugin.yaml").write_text(manifest, "utf-8")
    for name, text in files.items():
        (plugin / name.replace("__dot__", ".")).write_text(text, "utf-8")
    return Found(Way.FOLDER, plugin)


def test_a_binary_gets_the_engines_address_in_the_projects_folder(tmp_path: Path) -> None:
    launch = launch_of(
        "random", Found(Way.BINARY, Path("/b/pulumi-resource-random")), around(tmp_path), ENGINE
    )
    assert launch.argv == ("/b/pulumi-resource-random", ENGINE)
    assert launch.cwd == tmp_path
    assert not launch.speaks


def test_the_dynamic_provider_sees_the_programs_modules(tmp_path: Path) -> None:
    launch = launch_of("pulumi-python", Found(Way.DYNAMIC), around(tmp_path, PYTHONPATH="lib:/abs"), ENGINE)
    assert launch.argv == (str(PYTHON), "-u", "-m", "pulumi.dynamic", ENGINE)
    assert launch.env["PYTHONPATH"].split(os.pathsep) == [str(tmp_path), str(tmp_path / "lib"), "/abs"]
    assert launch.speaks


def test_what_the_environment_tells(tmp_path: Path) -> None:
    launch = launch_of("r", Found(Way.BINARY, Path("/b")), around(tmp_path, HOME="/h"), ENGINE)
    assert launch.env == {
        "HOME": "/h",
        "PULUMI_RUNTIME_VIRTUALENV": ".venv",
        "PULUMI_PROJECT": "shop",
        "PULUMI_CONFIG": "{}",
    }
    assert "HOME" not in repr(launch)


def test_variables_under_other_names(tmp_path: Path) -> None:
    names = {"MINE": "THEIRS", "NOT_SET": "NOTHING"}
    found = Found(Way.BINARY, Path("/b"))
    env = launch_of("r", found, around(tmp_path, MINE="1", THEIRS="0"), ENGINE, names).env
    assert (env["MINE"], env["THEIRS"]) == ("1", "1")
    assert "NOTHING" not in env


@pytest.mark.parametrize("manifest", ["runtime: python\n", "runtime:\n  name: python\n"])
def test_a_folder_with_a_main(tmp_path: Path, manifest: str) -> None:
    found = folder(tmp_path, manifest, __main____dot__py="")
    launch = launch_of("p", found, around(tmp_path), ENGINE)
    assert launch.argv == (str(PYTHON), "-u", str(found.path), ENGINE)
    assert launch.cwd == tmp_path


@pytest.mark.parametrize(
    ("manifest", "pyproject", "name"),
    [
        ("runtime: python\nname: mine\n", '[project]\nname = "my-shapes"\n', "my-shapes"),
        ("runtime: python\nname: mine\n", "[tool.x]\n", "mine"),
        ("runtime: python\n", None, "plugin"),
    ],
)
def test_a_package_is_run_by_pulumis_launcher(
    tmp_path: Path, manifest: str, pyproject: str | None, name: str
) -> None:
    found = folder(tmp_path, manifest, **({"pyproject__dot__toml": pyproject} if pyproject else {}))
    launch = launch_of("p", found, around(tmp_path), ENGINE)
    assert launch.argv == (str(PYTHON), "-u", "-m", "pulumi.run.plugin", name, ENGINE)
    assert launch.env["PYTHONPATH"] == str(found.path)


@pytest.mark.parametrize(
    ("manifest", "where"),
    [("runtime: python\n", "venv"), ("runtime: {name: python, options: {virtualenv: .v}}\n", ".v")],
)
def test_a_folder_with_an_environment_of_its_own(tmp_path: Path, manifest: str, where: str) -> None:
    found = folder(tmp_path, manifest, __main____dot__py="")
    python = found.path / where / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert launch_of("p", found, around(tmp_path), ENGINE).argv[0] == str(python)


@pytest.mark.parametrize(
    ("manifest", "code"),
    [("runtime: nodejs\n", "plugin-runtime"), ("- 1\n", "bad-plugin"), ("a: [\n", "bad-plugin"),
     ("{}", "plugin-runtime")],
)  # fmt: skip
def test_folders_that_cannot_be_run(tmp_path: Path, manifest: str, code: str) -> None:
    with pytest.raises(TickoverError) as caught:
        launch_of("p", folder(tmp_path, manifest), around(tmp_path), ENGINE)
    assert caught.value.code == code


def test_a_package_description_that_cannot_be_read(tmp_path: Path) -> None:
    found = folder(tmp_path, "runtime: python\n", pyproject__dot__toml="[project")
    with pytest.raises(TickoverError, match=r"pyproject\.toml"):
        launch_of("p", found, around(tmp_path), ENGINE)
