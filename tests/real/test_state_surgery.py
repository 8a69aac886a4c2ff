"""The same edit of the same state by both engines leads to the same deployment, as the CLI reads it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.real_pulumi import ENGINES, OURS, REAL, Workspace

U = "urn:pulumi:{}::demo::{}::{}".format
ROOT = U("dev", "pulumi:pulumi:Stack", "demo-dev")
NAMED = U("dev", "pulumi:providers:bed", "named")
DEFAULT = U("dev", "pulumi:providers:bed", "default")
COMP = U("dev", "my:c:Comp", "comp")
A, B, D, E = (U("dev", "bed:i:Thing", name) for name in "abde")
C = U("dev", "my:c:Comp$bed:i:Thing", "c")
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"hush"'}
REFERENCE = {"4dabf18193072939515e22adb298388d": "5cf8f73096256a8f31e491e813e4eb8e", "urn": A, "id": "a"}


def entry(urn: str, **fields: Any) -> dict[str, Any]:
    return {"urn": urn, "custom": "id" in fields, "type": urn.split("::")[2].split("$")[-1], **fields}


def resources() -> list[dict[str, Any]]:
    """Two providers, a component, references of every kind, a protected one, and half a replacement."""
    on_named = {"parent": ROOT, "provider": f"{NAMED}::pid"}
    on_default = {"parent": ROOT, "provider": f"{DEFAULT}::did"}
    return [
        entry(ROOT, outputs={"o": "v", "s": SECRET, "r": REFERENCE}),
        entry(NAMED, id="pid", parent=ROOT, inputs={"x": "1"}, outputs={"x": "1"}),
        entry(DEFAULT, id="did", parent=ROOT),
        entry(COMP, parent=ROOT),
        entry(
            A, id="a", inputs={"p": SECRET, "l": [1, 2]}, aliases=[U("dev", "bed:i:Thing", "was")], **on_named
        ),
        entry(B, id="b", dependencies=[A], propertyDependencies={"p": [A]}, protect=True, **on_default),
        entry(
            C,
            id="c",
            parent=COMP,
            provider=f"{NAMED}::pid",
            dependencies=[B],
            propertyDependencies={"z": [B, A]},
            deletedWith=A,
        ),
        entry(D, id="d", protect=True, **on_default),
        entry(E, id="e2", **on_default),
        entry(E, id="e1", delete=True, **on_default),
    ]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project with the stacks other, which is empty, and dev."""
    made = Workspace(tmp_path_factory.mktemp("surgery"))
    for stack in ("dev", "other"):
        made.init(REAL, stack)
    salt = yaml.safe_load((made.root / "Pulumi.dev.yaml").read_text())["encryptionsalt"]
    manifest = {"time": "2024-01-01T00:00:00Z", "magic": "", "version": ""}
    keys = {"type": "passphrase", "state": {"salt": salt}}
    body = {"manifest": manifest, "secrets_providers": keys, "resources": resources()}
    file = made.folder / "start.json"
    file.write_text(json.dumps({"version": 3, "deployment": body}))
    made.ok(REAL, "stack", "import", "-s", "dev", "--file", str(file))
    shutil.copytree(made.state, made.folder / "start")
    shutil.copytree(made.root, made.folder / "start-project")
    return made


def restore(space: Workspace) -> None:
    for present, start in ((space.state, "start"), (space.root, "start-project")):
        shutil.rmtree(present)
        shutil.copytree(space.folder / start, present)


def exported(space: Workspace, stack: str) -> dict[str, Any]:
    """What the real CLI reads, without times, salts and empty lists, which it drops now and then."""
    document = space.export(REAL, stack)
    deployment = document["deployment"]
    deployment.pop("manifest", None)
    deployment.pop("secrets_providers", None)
    for resource in deployment.get("resources", ()):
        by_property = resource.pop("propertyDependencies", {})
        resource["propertyDependencies"] = {k: v for k, v in by_property.items() if v}
    return document


def judged(
    space: Workspace,
    words: tuple[str, ...],
    *,
    stacks: tuple[str, ...] = ("dev",),
    before: Callable[[Path], None] = lambda _: None,
) -> None:
    """Both do it; both succeed or both refuse; and the states are the same."""
    results = []
    for engine in ENGINES:
        restore(space)
        before(space.state / ".pulumi/stacks/demo/dev.json")
        ran = space.run(engine, *words)
        raw = [(space.state / f".pulumi/stacks/demo/{stack}.json").read_bytes() for stack in stacks]
        results.append((ran, [exported(space, stack) for stack in stacks] if ran.code == 0 else raw))
    (first, one), (second, two) = results
    assert (first.code == 0) == (second.code == 0), first.told() + second.told()
    assert one == two, first.told() + second.told()


@pytest.mark.parametrize(
    "words",
    [
        ("delete", C),
        ("delete", A),
        ("delete", A, "--target-dependents", "--force"),
        ("delete", C, B, A, "--force"),
        ("delete", D, "--force"),
        ("delete", E),
        ("delete", "--all", "--force"),
        ("rename", A, "new"),
        ("rename", NAMED, "new"),
        ("rename", COMP, "new"),
        ("unprotect", "--all"),
        ("protect", A, E),
        ("taint", A, C),
        ("taint", A + "x"),
    ],
    ids=lambda words: " ".join(w.rpartition("::")[2] for w in words),
)
def test_the_same_edit(space: Workspace, words: tuple[str, ...]) -> None:
    judged(space, ("state", *words, "-s", "dev", "--yes"))


@pytest.mark.parametrize(
    "words",
    [(A,), (B, A), (C, "--include-parents"), (ROOT,), (NAMED,)],
    ids=lambda words: " ".join(w.rpartition("::")[2] for w in words),
)
def test_the_same_move(space: Workspace, words: tuple[str, ...]) -> None:
    judged(
        space,
        ("state", "move", "--source", "dev", "--dest", "other", *words, "--yes"),
        stacks=("dev", "other"),
    )


def without(urn: str) -> Callable[[list[Any]], list[Any]]:
    return lambda found: [r for r in found if r["urn"] != urn]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(without(A), id="dependency lost"),
        pytest.param(without(COMP), id="parent lost"),
        pytest.param(without(ROOT), id="stack lost"),
        pytest.param(without(NAMED), id="provider lost"),
        pytest.param(lambda found: [*found[:4], found[5], found[4], *found[6:]], id="out of order"),
        pytest.param(lambda found: [*found, found[4]], id="there twice"),
    ],
)
def test_the_same_repair(space: Workspace, damage: Callable[[list[Any]], list[Any]]) -> None:
    def spoil(path: Path) -> None:
        document = json.loads(path.read_text())
        latest = document["checkpoint"]["latest"]
        latest["resources"] = damage(latest["resources"])
        path.write_text(json.dumps(document))

    judged(space, ("state", "repair", "-s", "dev", "--yes"), before=spoil)


def test_the_same_renamed_stack(space: Workspace) -> None:
    states = []
    for engine in ENGINES:
        restore(space)
        space.ok(engine, "config", "set", "k", "hush", "--secret", "-s", "dev")
        space.ok(engine, "stack", "rename", "prod", "-s", "dev")
        assert space.ok(REAL, "config", "get", "k", "-s", "prod").out == "hush\n"
        assert "dev" not in space.ok(REAL, "stack", "ls").out.split()
        states.append(exported(space, "prod"))
    assert states[0] == states[1]
    restore(space)


def test_a_passphrase_changed_by_us_is_the_clis_too(space: Workspace) -> None:
    restore(space)
    space.ok(REAL, "config", "set", "k", "hush-hush", "--secret", "-s", "dev")
    command = space.command(OURS, ("stack", "change-secrets-provider", "passphrase", "-s", "dev"))
    subprocess.run(
        command, cwd=space.root, env=space.environment(), input="another\n", text=True, check=True, timeout=60
    )
    other = {"PULUMI_CONFIG_PASSPHRASE": "another"}
    assert space.ok(REAL, "config", "get", "k", "-s", "dev", env=other).out == "hush-hush\n"
    shown = space.ok(REAL, "stack", "export", "-s", "dev", "--show-secrets", env=other)
    assert '\\"hush\\"' in shown.out
    assert space.fails(REAL, "config", "get", "k", "-s", "dev").code
    restore(space)


def test_tags_of_either_are_read_by_the_other(space: Workspace) -> None:
    restore(space)
    space.ok(OURS, "stack", "tag", "set", "env", "test", "-s", "dev")
    space.ok(REAL, "stack", "tag", "set", "team", "x", "-s", "dev")
    for engine in ENGINES:
        assert json.loads(space.ok(engine, "stack", "tag", "ls", "-s", "dev", "--json").out) == {
            "env": "test",
            "team": "x",
        }
    restore(space)
