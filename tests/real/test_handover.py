"""A stack goes from our engine to the real Pulumi CLI and back, at every point at which a user may do so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.handover_program import BOXES, WAITS
from tests.support.matrix_result import normalised
from tests.support.policy_packs import MANIFEST
from tests.support.real_pulumi import OURS, REAL, Workspace

BOTH_WAYS = pytest.mark.parametrize(("one", "other"), [(OURS, REAL), (REAL, OURS)])
TOKEN = "hunter2"
PACK = """
from pulumi_policy import EnforcementLevel, PolicyConfigSchema, PolicyPack, ResourceValidationPolicy

def short(args, report):
    if len(args.props.get("label", "")) > args.get_config().get("most", 10):
        report(f"{args.name} has a long label")

PolicyPack("labels", policies=[
    ResourceValidationPolicy("short", "Labels are short.", short, EnforcementLevel.MANDATORY,
        PolicyConfigSchema({"most": {"type": "integer"}})),
])
"""


@pytest.fixture
def boxes(space):
    """The stack of boxes, made by nobody yet."""
    space.use(BOXES)
    return space


def deploy(space: Workspace, engine: str) -> None:
    """First up, with a secret in the config."""
    space.init(engine)
    space.ok(engine, "config", "set", "-s", "dev", "--secret", "token", TOKEN)
    space.operate(engine, "up")


def resources(space: Workspace, engine: str) -> dict[str, dict]:
    """Resources by name, as an engine exports them."""
    found, _ = normalised(space.export(engine)["deployment"], space.folder)
    return {one["urn"].rsplit("::", 1)[1]: one for one in found}


def state_file(space: Workspace) -> Path:
    """Where the stack's state lies."""
    return space.state / ".pulumi/stacks/demo/dev.json"


def state_text(space: Workspace) -> str:
    """The stack's state, as it lies there."""
    return state_file(space).read_text()


@BOTH_WAYS
def test_up_preview_change_preview_destroy(boxes, one, other):
    deploy(boxes, one)
    assert TOKEN not in state_text(boxes)
    assert resources(boxes, one) == resources(boxes, other)

    boxes.operate(other, "preview", "--expect-no-changes")
    boxes.ok(other, "config", "set", "-s", "dev", "label", "changed")
    boxes.fails(one, "preview", "-s", "dev", "--expect-no-changes")
    boxes.operate(other, "up")
    assert TOKEN not in state_text(boxes)
    assert resources(boxes, one)["third"]["outputs"]["size"] == len("changed!")
    assert resources(boxes, one)["second"]["outputs"]["label"] == {"secret": TOKEN}

    boxes.operate(one, "preview", "--expect-no-changes")
    boxes.operate(one, "up", "--expect-no-changes")
    boxes.operate(other, "refresh", "--expect-no-changes")
    boxes.operate(one, "destroy")
    assert boxes.export(other)["deployment"].get("resources") in (None, [])
    boxes.ok(other, "stack", "rm", "dev", "--yes")
    boxes.fails(one, "stack", "export", "-s", "dev")


@BOTH_WAYS
def test_a_wrong_passphrase_is_refused_by_the_other_and_changes_nothing(boxes, one, other):
    deploy(boxes, one)
    before = state_text(boxes)
    refused = boxes.run(
        other, "up", "-s", "dev", "--yes", "--skip-preview", env={"PULUMI_CONFIG_PASSPHRASE": "no"}
    )
    assert refused.code != 0
    assert "passphrase" in refused.said
    assert state_text(boxes) == before


@BOTH_WAYS
def test_a_pending_create_of_one_is_named_by_the_other_and_cleared(boxes, one, other):
    deploy(boxes, one)
    state = json.loads(state_text(boxes))
    latest = state["checkpoint"]["latest"]
    first = next(r for r in latest["resources"] if r["urn"].endswith("::first"))
    lost = {"urn": first["urn"].replace("::first", "::lost"), "type": first["type"], "custom": True}
    lost |= {"inputs": first["inputs"], "provider": first["provider"], "parent": first["parent"]}
    latest["pending_operations"] = [{"resource": lost, "type": "creating"}]
    state_file(boxes).write_text(json.dumps(state))

    told = boxes.operate(other, "up")
    assert "lost" in told.said
    assert [o["type"] for o in boxes.export(one)["deployment"]["pending_operations"]] == ["creating"]
    boxes.operate(other, "refresh", "--clear-pending-creates")
    assert not boxes.export(one)["deployment"].get("pending_operations")
    boxes.operate(one, "preview", "--expect-no-changes")


@BOTH_WAYS
def test_a_policy_pack_holds_under_both(boxes, one, other):
    pack = boxes.folder / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text(MANIFEST)
    (pack / "__main__.py").write_text(PACK)
    strict = boxes.folder / "strict.json"
    strict.write_text(json.dumps({"short": {"enforcementLevel": "mandatory", "most": 3}}))
    deploy(boxes, one)
    with_pack = ("--policy-pack", str(pack))
    boxes.operate(other, "up", *with_pack)
    refused = boxes.operate(other, "preview", *with_pack, "--policy-pack-config", str(strict), check=False)
    assert refused.code != 0, refused.told()
    assert "first has a long label" in refused.said
    boxes.ok(one, "config", "set", "-s", "dev", "label", "much too long a label")
    refused = boxes.operate(other, "up", *with_pack, check=False)
    assert refused.code != 0, refused.told()
    assert "first has a long label" in refused.said
    assert resources(boxes, one)["first"]["outputs"]["label"] == "plain"


@BOTH_WAYS
def test_a_lock_held_by_one_is_named_by_the_other(space, one, other):
    space.use(WAITS)
    space.init(one)
    space.ok(one, "config", "set", "-s", "dev", "folder", str(space.folder))
    words = space.command(one, ("up", "-s", "dev", "--yes", "--skip-preview"))
    null = subprocess.DEVNULL
    with subprocess.Popen(words, cwd=space.root, env=space.environment(), stdin=null, stdout=null) as holder:
        try:
            wait_for(space.folder / "runs", holder)
            refused = space.operate(other, "up", check=False)
            assert refused.code != 0, refused.told()
            assert re.search(rf"\b{holder.pid}\b", refused.said), refused.told()
            assert os.uname().nodename in refused.said
        finally:
            (space.folder / "go").touch()
        assert holder.wait(60) == 0
    space.operate(other, "up", "--expect-no-changes")


def wait_for(file: Path, process: subprocess.Popen) -> None:
    """Until it is there, or the process has ended."""
    until = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < until, f"no {file.name}"
        time.sleep(0.05)


@BOTH_WAYS
def test_export_goes_into_the_other_s_import(boxes, one, other):
    deploy(boxes, one)
    before = resources(boxes, one)
    for flags in ((), ("--show-secrets",)):
        text = boxes.ok(one, "stack", "export", "-s", "dev", *flags).out
        assert (TOKEN in text) is bool(flags)
        file = boxes.folder / "exported.json"
        file.write_text(text)
        boxes.ok(other, "stack", "import", "-s", "dev", "--file", str(file))
        assert TOKEN not in state_text(boxes)
        assert resources(boxes, other) == before
    boxes.operate(one, "preview", "--expect-no-changes")


@BOTH_WAYS
def test_state_commands_of_one_are_seen_by_the_other(boxes, one, other):
    deploy(boxes, one)
    urns = {name: found["urn"] for name, found in resources(boxes, one).items()}
    boxes.ok(other, "state", "protect", urns["third"], "-s", "dev", "--yes")
    assert resources(boxes, one)["third"]["protect"] is True
    refused = boxes.operate(one, "destroy", "--target", urns["third"], check=False)
    assert refused.code != 0, refused.told()
    assert "protect" in refused.said
    boxes.ok(one, "state", "unprotect", urns["third"], "-s", "dev", "--yes")
    assert "protect" not in resources(boxes, other)["third"]
    boxes.ok(other, "state", "rename", urns["second"], "renamed", "-s", "dev", "--yes")
    boxes.ok(
        one,
        "state",
        "rename",
        urns["second"].replace("::second", "::renamed"),
        "second",
        "-s",
        "dev",
        "--yes",
    )
    boxes.operate(other, "preview", "--expect-no-changes")
    boxes.ok(one, "state", "delete", urns["third"], "-s", "dev", "--yes")
    assert "third" not in resources(boxes, other)
    boxes.operate(other, "up")
    boxes.operate(one, "preview", "--expect-no-changes")


def value(space: Workspace, engine: str, key: str) -> str:
    """What `config get` answers; ours shows a secret when asked to."""
    clearly = ("--show-secrets",) if engine == OURS else ()
    return space.ok(engine, "config", "get", "-s", "dev", key, *clearly).out.strip()


@BOTH_WAYS
def test_config_of_one_is_read_by_the_other(space, one, other):
    space.init(one)
    stack = ("-s", "dev")
    space.ok(one, "config", "set", *stack, "plain", "words")
    space.ok(one, "config", "set", *stack, "--secret", "hidden", TOKEN)
    space.ok(one, "config", "set", *stack, "--path", "tree.list[0]", "5")
    space.ok(one, "config", "set", *stack, "--path", "--secret", "tree.inner", "deep")
    assert value(space, other, "plain") == "words"
    assert value(space, other, "hidden") == TOKEN
    assert json.loads(value(space, other, "tree")) == {"list": [5], "inner": "deep"}
    space.ok(other, "config", "set", *stack, "plain", "others")
    space.ok(other, "config", "set", *stack, "--secret", "hidden", "theirs")
    space.ok(other, "config", "rm", *stack, "--path", "tree.list[0]")
    assert value(space, one, "plain") == "others"
    assert value(space, one, "hidden") == "theirs"
    assert json.loads(value(space, one, "tree")) == {"list": [], "inner": "deep"}
    assert TOKEN not in (space.root / "Pulumi.dev.yaml").read_text()


def listed(text: str) -> list[dict]:
    """The entries of a JSON answer; ours name what they list."""
    found = json.loads(text)
    return found if isinstance(found, list) else next(iter(found.values()))


def names_of_stacks(space: Workspace, engine: str) -> list[str]:
    """What `stack ls` lists."""
    return [entry["name"] for entry in listed(space.ok(engine, "stack", "ls", "--json").out)]


@BOTH_WAYS
def test_stacks_of_one_are_listed_renamed_and_removed_by_the_other(boxes, one, other):
    deploy(boxes, one)
    assert names_of_stacks(boxes, other) == ["dev"]
    outputs = json.loads(boxes.ok(other, "stack", "output", "-s", "dev", "--json", "--show-secrets").out)
    assert outputs == {"size": 6, "token": TOKEN}
    history = listed(boxes.ok(other, "stack", "history", "-s", "dev", "--json").out)
    assert [entry["kind"] for entry in history] == ["update"]
    boxes.ok(other, "stack", "rename", "prod", "-s", "dev")
    boxes.ok(one, "preview", "-s", "prod", "--expect-no-changes")
    boxes.ok(one, "stack", "rename", "dev", "-s", "prod")
    boxes.operate(other, "destroy", "--remove")
    assert names_of_stacks(boxes, one) == []
