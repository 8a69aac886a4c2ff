"""Where a plugin is looked for, against a disk that is a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tickover.engine.packages import PackageSpec
from tickover.engine.plugins.locate import Found, Missing, Way, locate
from tickover.engine.project import PluginPath
from tickover.errors import ConfigError, TickoverError

PYTHON = Path("/venv/bin/python")
ENV = {"PATH": "/usr/bin:/opt/bin", "PULUMI_HOME": "/home/me/.pulumi"}
CACHE = Path("/home/me/.pulumi/plugins")
BINARY = "pulumi-resource-random"
RANDOM = PackageSpec("random")


@dataclass
class Table:
    """executables, files: what is on the disk; folders follow from them."""

    executables: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def _all(self) -> set[Path]:
        return {Path(p) for p in self.executables | self.files}

    def is_dir(self, path: Path) -> bool:
        return any(path in p.parents for p in self._all())

    def is_file(self, path: Path) -> bool:
        return path in self._all()

    def is_executable(self, path: Path) -> bool:
        return str(path) in self.executables

    def names(self, folder: Path) -> Sequence[str]:
        inside = [p.relative_to(folder) for p in self._all() if folder in p.parents]
        return sorted({p.parts[0] for p in inside})


def entry(path: str, version: str = "", name: str = "random", kind: str = "providers") -> PluginPath:
    return PluginPath(kind, name, Path(path), version)


def cached(version: str, name: str = "random", binary: str = BINARY) -> str:
    return f"{CACHE}/resource-{name}-v{version}/{binary}"


def look(
    disk: Table, spec: PackageSpec = RANDOM, plugins: Sequence[PluginPath] = (), **env: str
) -> Found | Missing:
    return locate(spec, plugins, ENV | env, PYTHON, disk)


def test_the_places_in_their_order() -> None:
    places = [
        f"/p/bin/{BINARY}",
        f"/usr/bin/{BINARY}",
        f"/opt/bin/{BINARY}",
        f"/venv/bin/{BINARY}",
        cached("4.0.0"),
    ]
    seen = []
    while places:
        plugins = [entry("/p/bin")] if places[0].startswith("/p") else []
        found = look(Table(set(places)), plugins=plugins)
        assert isinstance(found, Found)
        assert str(found.path) == places.pop(0)
        seen.append((found.place, found.is_ambient))
    assert seen == [
        ("Pulumi.yaml", False),
        ("PATH", True),
        ("PATH", True),
        ("the program's virtual environment", False),
        (str(CACHE), False),
    ]


@pytest.mark.parametrize("path", ["/p/bin", f"/p/bin/{BINARY}"])
def test_pulumi_yaml_may_name_the_folder_or_the_binary(path: str) -> None:
    found = look(Table({f"/p/bin/{BINARY}"}), plugins=[entry(path)])
    assert found == Found(Way.BINARY, Path(f"/p/bin/{BINARY}"), place="Pulumi.yaml")


def test_pulumi_yaml_may_name_a_folder_that_a_language_runs() -> None:
    found = look(Table(files={"/p/mine/PulumiPlugin.yaml"}), plugins=[entry("/p/mine")])
    assert found == Found(Way.FOLDER, Path("/p/mine"), place="Pulumi.yaml")


def test_a_named_plugin_that_is_not_there_is_an_error_not_another_one() -> None:
    disk = Table({f"/usr/bin/{BINARY}"}, {"/p/bin/readme"})
    with pytest.raises(TickoverError, match="/p/bin holds neither") as caught:
        look(disk, plugins=[entry("/p/bin")])
    assert caught.value.code == "plugin-missing"


@pytest.mark.parametrize(
    ("named", "wanted", "place"),
    [("", "4.1.0", "Pulumi.yaml"), ("4.1.0", "", "Pulumi.yaml"), ("v4.1", "4.1.0", "Pulumi.yaml"),
     ("4.0.0", "4.1.0", "PATH")],
)  # fmt: skip
def test_the_version_in_pulumi_yaml(named: str, wanted: str, place: str) -> None:
    disk = Table({f"/p/bin/{BINARY}", f"/usr/bin/{BINARY}"})
    found = look(disk, PackageSpec("random", wanted), [entry("/p/bin", named)])
    assert isinstance(found, Found)
    assert found.place == place


def test_two_entries_of_one_version_are_refused() -> None:
    with pytest.raises(ConfigError, match="twice in one version"):
        look(Table(), plugins=[entry("/a", "1.0.0"), entry("/b", "1.0.0")])


def test_entries_of_other_kinds_and_names_mean_nothing() -> None:
    disk = Table({f"/p/bin/{BINARY}"})
    plugins = [entry("/p/bin", kind="languages"), entry("/p/bin", name="other")]
    assert isinstance(look(disk, plugins=plugins), Missing)


@pytest.mark.parametrize(("value", "is_found"), [("true", False), ("1", False), ("false", True), ("", True)])
def test_what_lies_around_can_be_ignored(value: str, is_found: bool) -> None:
    disk = Table({f"/usr/bin/{BINARY}", f"/venv/bin/{BINARY}"})
    found = look(disk, PULUMI_IGNORE_AMBIENT_PLUGINS=value)
    assert isinstance(found, Found) is is_found


def test_a_debug_provider_comes_first() -> None:
    disk = Table({f"/p/bin/{BINARY}"})
    found = look(disk, plugins=[entry("/p/bin")], PULUMI_DEBUG_PROVIDERS="aws:1,random:4711")
    assert isinstance(found, Found)
    assert (found.way, found.port) == (Way.ATTACH, 4711)
    assert isinstance(look(disk, PULUMI_DEBUG_PROVIDERS="randomly:1"), Missing)


@pytest.mark.parametrize("text", ["random", "random:", "random:x", "random:0", "random:70000"])
def test_a_debug_provider_needs_a_port(text: str) -> None:
    with pytest.raises(ConfigError, match="PULUMI_DEBUG_PROVIDERS"):
        look(Table(), PULUMI_DEBUG_PROVIDERS=text)


@pytest.mark.parametrize(
    ("have", "wanted", "chosen"),
    [
        (["4.0.0", "4.1.0"], "4.0.0", "4.0.0"),
        (["4.0.0", "4.1.0"], "v4.1.0", "4.1.0"),
        (["4.0.0", "5.0.0"], "4.1.0", None),
        (["4.9.0", "4.10.0", "4.2.0"], "", "4.10.0"),
        (["4.9.0", "5.0.0-alpha.1"], "", "4.9.0"),
        (["5.0.0-alpha.1", "5.0.0-alpha.2"], "", "5.0.0-alpha.2"),
        (["5.0.0-alpha.1", "5.0.0"], "5.0.0-alpha.1", "5.0.0-alpha.1"),
        ([], "", None),
    ],
)
def test_the_version_in_the_cache(have: list[str], wanted: str, chosen: str | None) -> None:
    found = look(Table({cached(v) for v in have}), PackageSpec("random", wanted))
    if chosen is None:
        assert isinstance(found, Missing)
    else:
        assert isinstance(found, Found)
        assert str(found.path) == cached(chosen)


def test_what_is_not_whole_or_no_plugin_is_left_alone() -> None:
    disk = Table(
        {
            cached("4.0.0"),
            cached("4.1.0"),
            cached("4.2.0.tmp123"),
            f"{CACHE}/language-random-v9.0.0/{BINARY}",
        },
        {f"{CACHE}/resource-random-v4.1.0.partial", f"{CACHE}/resource-random-vnext/{BINARY}"},
    )
    found = look(disk)
    assert isinstance(found, Found)
    assert str(found.path) == cached("4.0.0")


def test_a_cached_plugin_of_a_repository_lies_under_the_repositorys_name() -> None:
    url = "git://github.com/acme/shapes/round"
    folder = CACHE / "resource-github.com_acme_shapes.git_round-v1.0.0" / "round"
    found = look(
        Table(files={f"{folder}/PulumiPlugin.yaml"}), PackageSpec("shapes", "1.0.0", download_url=url)
    )
    assert isinstance(found, Found)
    assert (found.way, found.path) == (Way.FOLDER, folder)


def test_pulumis_dynamic_provider_is_run_by_the_program_s_python() -> None:
    disk = Table({"/usr/bin/pulumi-resource-pulumi-python"})
    found = look(disk, PackageSpec("pulumi-python"))
    assert isinstance(found, Found)
    assert (found.way, found.path) == (Way.DYNAMIC, PYTHON)


def test_the_cache_of_somebody_without_pulumi_home() -> None:
    disk = Table({f"/home/you/.pulumi/plugins/resource-random-v1.0.0/{BINARY}"})
    found = locate(RANDOM, (), {"HOME": "/home/you"}, PYTHON, disk)
    assert isinstance(found, Found)


def test_every_place_is_in_the_report() -> None:
    found = look(Table({cached("3.0.0")}), PackageSpec("random", "4.0.0"))
    assert isinstance(found, Missing)
    assert found.looked == (
        "Pulumi.yaml: no such entry under plugins.providers",
        f"PATH: no {BINARY}",
        f"/venv/bin: no {BINARY}",
        f"{CACHE}: only version 3.0.0",
    )
