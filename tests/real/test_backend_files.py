"""Our state and config, judged by the real Pulumi CLI, and the CLI's by us."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.support.engine_state import (
    PROVIDER_URN,
    ROOT,
    base,
    keyring,
    locked_keyring,
    thing,
    urn,
)
from tests.support.real_pulumi import REAL, Workspace
from tickover.engine.backend import open_backend
from tickover.engine.history import UpdateRecord
from tickover.engine.project import load_project
from tickover.engine.stackconfig import config_for_program, load_stack_config, set_value
from tickover.engine.stackio import export_stack
from tickover.engine.state import CustomTimeouts, Deployment, ResourceState
from tickover.engine.values import Asset, ResourceReference, Secret

HELLO_HASH = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"  # sha256 of "hi"
RICH = Deployment(
    (
        ResourceState(
            urn=ROOT,
            type="pulumi:pulumi:Stack",
            custom=False,
            outputs={"pw": Secret("hunter2"), "n": 3, "f": 1.5, "o": {"a": [1, None, "ü"]}},
        ),
        base()[1],
        thing(
            "full",
            inputs={"s": Secret({"k": [1]}), "as": Asset(text="hi", hash=HELLO_HASH)},
            outputs={
                "inf": float("inf"),
                "r": ResourceReference(ROOT),
                "c": ResourceReference(PROVIDER_URN, "x"),
            },
            dependencies=(PROVIDER_URN,),
            property_dependencies={"s": (ROOT,)},
            created="2026-01-01T00:00:00Z",
            modified="2026-01-01T00:00:00Z",
            custom_timeouts=CustomTimeouts(create=60),
            init_errors=("half",),
            additional_secret_outputs=("x",),
            ignore_changes=("a",),
            retain_on_delete=True,
            protect=True,
            source_position="project:///__main__.py#1,2",
            aliases=(urn("old"),),
        ),
    )
)


class World(Workspace):
    """A project, its back end by us, and the CLI on the same folder."""

    def __post_init__(self):
        Workspace.__post_init__(self)
        (self.root / "stacks").mkdir()
        loaded = load_project(self.root)
        self.loaded, self.backend = loaded, open_backend(loaded, self.environment())

    def cli(self, *words, ok=True):
        ran = (self.ok if ok else self.fails)(REAL, *words)
        return ran.out if ok else ran.err


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, project={"stackConfigDir": "stacks"})


def test_the_cli_exports_what_we_saved(world):
    world.backend.create("demo", "dev")
    world.backend.save("demo", "dev", RICH, keyring())
    (stack,) = json.loads(world.cli("stack", "ls", "--json"))
    assert (stack["name"], stack["resourceCount"]) == ("dev", 3)
    theirs = json.loads(world.cli("stack", "export", "-s", "dev", "--show-secrets"))
    assert theirs == export_stack(world.backend, "demo", "dev", keyring(), show_secrets=True)
    outputs = json.loads(world.cli("stack", "output", "-s", "dev", "--json", "--show-secrets"))
    assert outputs == {"pw": "hunter2", "n": 3, "f": 1.5, "o": {"a": [1, None, "ü"]}}


def test_what_the_cli_writes_we_read_and_write_the_same_bytes(world):
    saved = world.backend.save("demo", "dev", RICH, keyring())
    file = world.folder / "exported.json"
    file.write_text(world.cli("stack", "export", "-s", "dev"))
    world.cli("stack", "import", "-s", "dev", "--file", str(file))
    state = world.state / ".pulumi/stacks/demo/dev.json"
    by_cli = state.read_bytes()
    loaded = world.backend.load("demo", "dev", keyring())
    assert loaded.deployment.resources == RICH.resources
    assert loaded.deployment.secrets_provider == saved.secrets_provider
    world.backend.save("demo", "dev", loaded.deployment, keyring())
    varying = (
        rb'v1:[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+(:v1:[^"]*)?|"time":"[^"]*"|"magic":"[^"]*","version":"[^"]*"'
    )
    assert re.sub(varying, b"#", state.read_bytes()) == re.sub(varying, b"#", by_cli)


def test_a_stack_that_the_cli_made(world):
    world.cli("stack", "init", "fresh")
    loaded = world.backend.load("demo", "fresh", locked_keyring())
    assert loaded.exists
    assert loaded.deployment.resources == ()
    assert load_stack_config(world.loaded, "fresh").salt == loaded.deployment.secrets_provider.state["salt"]


def test_locks_hold_and_break_across_the_border(world):
    world.backend.create("demo", "dev")
    with world.backend.lock("demo", "dev", "tickover up"):
        refusal = world.cli("destroy", "-s", "dev", "--yes", "--skip-preview", ok=False)
        assert f"(pid {os.getpid()})" in refusal
        world.cli("cancel", "-s", "dev", "--yes")
        assert world.backend.holders("demo", "dev") == ()


def test_history(world):
    world.backend.create("demo", "dev")
    config = {"demo:x": "1", "demo:s": {"secure": "v1:a:b"}}
    record = UpdateRecord(
        "update", 1700000000, 1700000009, "succeeded", "why", {"a": "b"}, config, {"create": 2}
    )
    world.backend.record_update("demo", "dev", record)
    (entry,) = json.loads(world.cli("stack", "history", "-s", "dev", "--json"))
    assert (entry["kind"], entry["message"], entry["resourceChanges"]) == ("update", "why", {"create": 2})
    assert entry["config"]["demo:s"] == {"secret": True}


def test_config_both_ways(world):
    world.backend.create("demo", "dev")
    config, ring = load_stack_config(world.loaded, "dev"), keyring()
    for key, value, secret, path in (
        ("x", "plain", False, False),
        ("s", "t0p", True, False),
        ("o.a.b", "inner", True, True),
        ("o.n", "5", False, True),
    ):
        config = set_value(world.loaded, config, key, value, ring, secret=secret, as_path=path).config
    assert world.cli("config", "get", "-s", "dev", "s").strip() == "t0p"
    assert json.loads(world.cli("config", "get", "-s", "dev", "o")) == {"a": {"b": "inner"}, "n": 5}
    world.cli("config", "set", "-s", "dev", "--secret", "theirs", "abc")
    world.cli("config", "set", "-s", "dev", "--path", "o.list[0]", "true")
    world.cli("config", "set", "-s", "dev", "--secret", "--path", "o.sec", "zz")
    world.cli("config", "set", "-s", "dev", "num", "5")
    values, secret_keys = config_for_program(world.loaded, load_stack_config(world.loaded, "dev"), keyring())
    assert values == {
        "demo:num": "5",
        "demo:o": '{"a":{"b":"inner"},"n":5,"list":[true],"sec":"zz"}',
        "demo:s": "t0p",
        "demo:theirs": "abc",
        "demo:x": "plain",
    }
    assert secret_keys == ("demo:o", "demo:s", "demo:theirs")
