"""The real policy SDK as the other end of our analyzer client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.policy_packs import resource, write_pack
from tickover.engine.analyzer import AnalyzedResource, PolicyPacks
from tickover.engine.plan import PolicyViolation
from tickover.engine.values import UNKNOWN, Secret
from tickover.errors import ConfigError, TickoverError


def _alive(pid: int) -> bool:
    """True while a process runs; a zombie that nobody reaped is dead."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _start(*packs: Path, policy_config: Path | None = None):
    return PolicyPacks.start(packs, project="demo", stack="dev", dry_run=True, policy_config=policy_config)


def _analyze(pack: Path, *resources: AnalyzedResource, policy_config: Path | None = None):
    async def go() -> tuple[PolicyViolation, ...]:
        async with _start(pack, policy_config=policy_config) as packs:
            found = [await packs.analyze(r) for r in resources]
        return tuple(v for of_resource in found for v in of_resource)

    return asyncio.run(go())


def test_one_pack_judges_resources_and_the_stack(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    parent = resource("parent", properties={"colour": "blue"})
    child = resource(
        "child",
        properties={"colour": "red"},
        parent=parent.urn,
        dependencies=(parent.urn,),
        property_dependencies={"colour": (parent.urn,)},
        provider="urn:pulumi:dev::demo::pulumi:providers:test::p::some-id",
    )

    async def go():
        async with _start(pack) as packs:
            return (
                packs.names,
                await packs.analyze(parent),
                await packs.analyze(child),
                await packs.analyze_stack([parent, child]),
                packs.pids,
            )

    names, blue, red, stack, pids = asyncio.run(go())
    assert names == ("paint@1.2.3",)
    assert blue == ()
    assert red == (PolicyViolation("paint", "1.2.3", "no-red", "mandatory", "child is red", child.urn),)
    assert [(v.level, v.urn, v.message) for v in stack] == [
        ("advisory", child.urn, "child under parent after ['parent'] in dev"),
        ("advisory", parent.urn, "parent under - after [] in dev"),
    ]
    assert not any(_alive(pid) for pid in pids)


def test_secrets_are_judged_and_unknowns_are_said_not_to_be(tmp_path: Path) -> None:
    found = _analyze(
        write_pack(tmp_path / "pack"),
        resource("hidden", properties={"colour": Secret("red")}),
        resource("later", properties={"colour": UNKNOWN}),
    )
    assert [(v.level, v.urn.rsplit("::", 1)[1]) for v in found] == [
        ("mandatory", "hidden"),
        ("advisory", "later"),
    ]
    assert "can't be known during preview" in found[1].message


def test_the_config_file_sets_levels_and_properties(tmp_path: Path) -> None:
    config = tmp_path / "levels.json"
    config.write_text(json.dumps({"no-red": {"enforcementLevel": "advisory", "colour": "green"}}))
    found = _analyze(
        write_pack(tmp_path / "pack"),
        resource("a", properties={"colour": "green"}),
        resource("b", properties={"colour": "red"}),
        policy_config=config,
    )
    assert [(v.level, v.message) for v in found] == [("advisory", "a is green")]


def test_the_stacks_own_config_file_is_used_where_none_is_named(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    (pack / "config").mkdir()
    (pack / "config" / "dev.json").write_text('{"all": "disabled"}')
    assert _analyze(pack, resource("a", properties={"colour": "red"})) == ()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"no-read": "advisory"}, "no-read: no pack has this policy; did you mean no-red?"),
        ({"no-red": "mandatry"}, "no-red: 'mandatry' is no level; did you mean mandatory?"),
        ({"no-red": {"color": "red"}}, "no-red.color: no such setting; did you mean colour?"),
        ({"no-red": {"colour": 3}}, "no-red.colour: must be of type string"),
        ({"no-red": 3}, "no-red: must be a level or a map"),
        ([], "the file must be a map"),
    ],
)
def test_a_wrong_config_file_is_refused(tmp_path: Path, document: object, said: str) -> None:
    config = tmp_path / "levels.json"
    config.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as caught:
        _analyze(write_pack(tmp_path / "pack"), policy_config=config)
    assert said in caught.value.detail
    assert caught.value.address == "levels.json"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
        ("import sys; print('hello', flush=True)", "must be its port, not 'hello'"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
def test_a_pack_that_does_not_start_says_why(tmp_path: Path, program: str, said: str) -> None:
    good = write_pack(tmp_path / "good")
    bad = write_pack(tmp_path / "bad", program)

    async def go() -> None:
        async with _start(good, bad):
            raise AssertionError("it started")

    with pytest.raises(TickoverError) as caught:
        asyncio.run(go())
    assert caught.value.code == "policy-pack-failed"
    assert said in caught.value.detail


@pytest.mark.parametrize("manifest", ["runtime: nodejs\n", "- no map\n", "a: [\n"])
def test_a_folder_that_is_no_pack_is_refused(tmp_path: Path, manifest: str) -> None:
    with pytest.raises(TickoverError) as caught:
        _analyze(write_pack(tmp_path / "pack", manifest=manifest))
    assert caught.value.code == "not-a-policy-pack"
    with pytest.raises(TickoverError) as caught:
        _analyze(tmp_path / "nowhere")
    assert caught.value.code == "not-a-policy-pack"


def test_a_rule_that_raises_is_an_error_with_its_traceback(tmp_path: Path) -> None:
    config = tmp_path / "levels.json"
    config.write_text('{"broken": "mandatory", "no-red": "disabled"}')
    with pytest.raises(TickoverError) as caught:
        _analyze(write_pack(tmp_path / "pack"), resource("a"), policy_config=config)
    assert "the rule is broken" in caught.value.detail


_ENGINE = """
import asyncio, sys
from pathlib import Path
from tickover.engine.analyzer import PolicyPacks

async def go():
    async with PolicyPacks.start([Path(sys.argv[1])], project="p", stack="dev", dry_run=True) as packs:
        print(*packs.pids, flush=True)
        await asyncio.sleep(60)

asyncio.run(go())
"""


def test_a_pack_dies_with_a_killed_engine(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    with subprocess.Popen(
        [sys.executable, "-c", _ENGINE, str(pack)], stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        assert _alive(pid)
        engine.kill()
    deadline = time.monotonic() + 10
    while _alive(pid):
        assert time.monotonic() < deadline, "the pack outlived its engine"
        time.sleep(0.05)
