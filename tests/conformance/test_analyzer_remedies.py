"""Remedies, phases and mishaps of policy packs, with the real policy SDK as the other end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.policy_packs import REMEDIES, resource, write_pack
from tickover.engine import policypack
from tickover.engine.analyzer import PolicyPacks, changed_paths
from tickover.engine.values import UNKNOWN, Archive, Asset, Secret
from tickover.errors import ConfigError, TickoverError


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _with(paths, use, **fields):
    async def go():
        fields.setdefault("dry_run", True)
        async with PolicyPacks.start(paths, project="demo", stack="dev", **fields) as packs:
            return await use(packs)

    return asyncio.run(go())


def test_a_remedy_changes_inputs_and_keeps_secrets_unknowns_and_assets(tmp_path: Path) -> None:
    before = {
        "colour": "red",
        "password": Secret("geheim"),
        "later": UNKNOWN,
        "__provider": Secret("pickle"),
        "parts": [{"size": 1, "note": "x", "deep": Secret({"a": 1})}],
        "file": Asset(text="hello", hash="abc"),
        "files": Archive(assets={"a": Asset(path="a.txt", hash="1")}, hash="2"),
        "yes": True,
    }

    async def use(packs):
        done = await packs.remediate(resource("a", properties=before))
        judged = await packs.analyze(resource("a", properties=done.properties))
        return done, judged

    done, judged = _with([write_pack(tmp_path / "pack", REMEDIES)], use)
    assert done.properties == {
        **before,
        "colour": "green",
        "parts": [{"size": 3, "note": "x", "deep": Secret({"a": 1})}],
    }
    assert [(r.pack, r.pack_version, r.policy, r.description, r.changed) for r in done.remediations] == [
        ("remedies", "1.2.3", "only-green", "Red becomes green.", ("colour",)),
        ("remedies", "1.2.3", "sized", "Parts have a size.", ("parts[0].size",)),
    ]
    assert done.violations == ()
    # A policy of this level without a remedy is a rule that must hold; what does not apply is no finding.
    assert [(v.policy, v.level) for v in judged] == [("no-remedy", "mandatory")]


def test_a_remedy_that_cannot_know_is_an_advice(tmp_path: Path) -> None:
    pack = write_pack(
        tmp_path / "pack",
        """
        from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy
        from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError
        def needs(args):
            if args.props["colour"] == UNKNOWN_STRING_VALUE:
                raise UnknownValueError(UNKNOWN_STRING_VALUE, ["colour"])
        PolicyPack("p", policies=[ResourceValidationPolicy(
            "needs", "Needs it.", enforcement_level=EnforcementLevel.REMEDIATE, remediate=needs)])
        """,
    )

    async def use(packs):
        return await packs.remediate(resource("a", properties={"colour": UNKNOWN}))

    done = _with([pack], use)
    assert done.properties == {"colour": UNKNOWN}
    assert done.remediations == ()
    (violation,) = done.violations
    assert (violation.policy, violation.level, violation.urn) == ("needs", "advisory", resource("a").urn)
    assert "can't be known during preview" in violation.message


def test_packs_remedy_one_after_another(tmp_path: Path) -> None:
    first = write_pack(tmp_path / "first", REMEDIES)
    second = write_pack(
        tmp_path / "second",
        """
        from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy
        async def bluer(args):
            if args.props["colour"] == "green":
                return {**args.props, "colour": "blue"}
        PolicyPack("second", policies=[ResourceValidationPolicy(
            "bluer", "Green becomes blue.", enforcement_level=EnforcementLevel.REMEDIATE, remediate=bluer)])
        """,
    )

    async def use(packs):
        return await packs.remediate(resource("a", properties={"colour": "red", "n": 1}))

    done = _with([first, second], use)
    assert done.properties == {"colour": "blue", "n": 1}
    assert [r.policy for r in done.remediations] == ["only-green", "bluer"]


def test_a_level_from_the_config_turns_a_remedy_on_and_off(tmp_path: Path) -> None:
    config = tmp_path / "off.json"
    config.write_text('{"only-green": "mandatory", "no-remedy": "advisory", "stack": "disabled"}')

    async def use(packs):
        asked = resource("a", properties={"colour": "red"})
        done = await packs.remediate(asked)
        return done, await packs.analyze(asked), await packs.analyze_stack([asked])

    done, judged, stack = _with([write_pack(tmp_path / "pack", REMEDIES)], use, policy_config=config)
    assert done.remediations == ()
    assert [(v.policy, v.level) for v in judged] == [("no-remedy", "advisory")]
    assert stack == ()


def test_a_stack_policy_at_the_level_remediate_must_hold_and_sees_tags_and_config(tmp_path: Path) -> None:
    async def use(packs):
        return await packs.analyze_stack([resource("a")])

    (violation,) = _with(
        [write_pack(tmp_path / "pack", REMEDIES)], use, config={"demo:size": "7"}, tags={"team": "red"}
    )
    assert violation.level == "mandatory"
    assert violation.message == "tags {'team': 'red'} and size 7"


def test_each_phase_has_fresh_packs_that_know_if_it_is_a_dry_run(tmp_path: Path) -> None:
    asked = resource("a", properties={"colour": "x"})

    async def use(packs):
        first, said = packs.pids, [v.message for v in await packs.analyze(asked)]
        packs.prepare(dry_run=False)
        await packs.begin(dry_run=False)
        second, later = packs.pids, [v.message for v in await packs.analyze(asked)]
        return first, said, second, later, [_alive(p) for p in first]

    first, said, second, later, alive = _with([write_pack(tmp_path / "pack", REMEDIES)], use)
    assert (said, later) == (["dry run: True"], ["dry run: False"])
    assert not any(alive)
    assert not set(first) & set(second)
    assert not any(_alive(p) for p in second)


def test_packs_that_are_prepared_and_never_used_end_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    noted = f"import os\nwith open({str(pids)!r}, 'a') as file:\n    file.write(f'{{os.getpid()}} ')\n"
    pack = write_pack(tmp_path / "pack", noted + dedent(REMEDIES))

    async def use(packs):
        packs.prepare(dry_run=False)
        while len(pids.read_text().split()) < 2:  # noqa: ASYNC110 - written by another process
            await asyncio.sleep(0.02)

    _with([pack], use)
    assert not any(_alive(int(pid)) for pid in pids.read_text().split())


def test_configs_are_paired_with_packs(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "a", REMEDIES)
    for name, level in (("one", "disabled"), ("two", "advisory")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"no-remedy": level}))
    files = [tmp_path / "one.json", tmp_path / "two.json"]

    async def use(packs):
        return await packs.analyze(resource("a", properties={"colour": "x"}))

    assert [v.level for v in _with([pack, pack], use, policy_config=files)] == ["advisory"]
    with pytest.raises(ConfigError, match="2 policy packs and 1 config files"):
        _with([pack, pack], use, policy_config=files[:1])


def test_a_rule_that_hangs_is_an_error_and_leaves_no_process(tmp_path: Path) -> None:
    pack = write_pack(
        tmp_path / "pack",
        """
        import time
        from pulumi_policy import PolicyPack, ResourceValidationPolicy
        PolicyPack("slow", policies=[ResourceValidationPolicy("slow", "Slow.", lambda a, r: time.sleep(600))])
        """,
    )
    seen: list[int] = []

    async def use(packs):
        seen.extend(packs.pids)
        return await packs.analyze(resource("a"))

    with pytest.raises(TickoverError, match=r"slow .*did not answer Analyze within 0\.3 s") as caught:
        _with([pack], use, answer_seconds=0.3)
    assert caught.value.code == "policy-pack-failed"
    assert not any(_alive(pid) for pid in seen)


def test_a_pack_that_prints_without_end_does_not_block_itself(tmp_path: Path) -> None:
    pack = write_pack(
        tmp_path / "pack",
        """
        import sys
        from pulumi_policy import PolicyPack, ResourceValidationPolicy
        def loud(args, report):
            sys.stderr.write("x" * 3_000_000)
            print("a line")
            report("said")
        PolicyPack("loud", policies=[ResourceValidationPolicy("loud", "Loud.", loud)])
        """,
    )
    lines: list[tuple[str, str]] = []

    async def use(packs):
        return await packs.analyze(resource("a"))

    (violation,) = _with([pack], use, on_line=lambda *said: lines.append(said))
    assert violation.message == "said"
    assert ("loud", "a line") in lines
    assert max(len(line) for _, line in lines) <= 2000


def test_options_and_provider_reach_the_rule(tmp_path: Path) -> None:
    pack = write_pack(
        tmp_path / "pack",
        """
        from pulumi_policy import PolicyPack, ResourceValidationPolicy
        def show(args, report):
            o, p = args.opts, args.provider
            report(repr([o.protect, list(o.ignore_changes), o.delete_before_replace, list(o.aliases),
                         o.parent, o.custom_timeouts.create_seconds, list(o.additional_secret_outputs),
                         p.resource_type, p.name, dict(p.props), sorted(args.props)]))
        PolicyPack("show", policies=[ResourceValidationPolicy("show", "Shows.", show)])
        """,
    )
    asked = replace(
        resource("a", properties={"x": 1, "__defaults": ["x"]}),
        protect=True,
        ignore_changes=("x",),
        delete_before_replace=False,
        aliases=("urn:pulumi:dev::demo::t:t:T::old",),
        parent="urn:pulumi:dev::demo::pulumi:pulumi:Stack::demo-dev",
        custom_timeouts={"create": 90.0},
        additional_secret_outputs=("token",),
        provider="urn:pulumi:dev::demo::pulumi:providers:test::p::id",
        provider_inputs={"region": "here"},
    )

    async def use(packs):
        return await packs.analyze(asked)

    (violation,) = _with([pack], use)
    assert violation.message == repr(
        [
            True,
            ["x"],
            False,
            ["urn:pulumi:dev::demo::t:t:T::old"],
            asked.parent,
            90.0,
            ["token"],
            "pulumi:providers:test",
            "p",
            {"region": "here"},
            ["x"],
        ]
    )


def test_an_executable_is_a_pack_too(tmp_path: Path) -> None:
    program = write_pack(tmp_path / "pack", REMEDIES) / "serve"
    program.write_text(
        f"#!{sys.executable}\nimport os, runpy\nassert os.environ['PULUMI_STACK'] == 'dev'\n"
        f"runpy.run_path({str(tmp_path / 'pack' / '__main__.py')!r}, run_name='__main__')\n"
    )
    os.chmod(program, 0o755)

    async def use(packs):
        return packs.names, packs.pids

    names, pids = _with([program], use)
    assert names == ("remedies@1.2.3",)
    assert not any(_alive(pid) for pid in pids)
    os.chmod(program, 0o644)
    with pytest.raises(TickoverError, match="does not start"):
        _with([program], use)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, ()),
        ({"a": 1}, {"b": 1}, ("a", "b")),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ("a.b[1]",)),
        ({"a": [1]}, {"a": [1, 2]}, ("a",)),
        ({"a": 1}, {"a": True}, ("a",)),
        ({"a": "x"}, {"a": Secret("x")}, ("a",)),
    ],
)
def test_what_a_remedy_changed_is_named_by_path(before, after, paths) -> None:
    assert changed_paths(before, after) == paths


HANGS = """
import os, time
from pathlib import Path
Path(__file__).with_name("pid").write_text(str(os.getpid()))
time.sleep(600)
"""


def test_a_pack_that_never_serves_is_given_up(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(policypack, "_START_SECONDS", 3.0)
    pack = write_pack(tmp_path / "pack", HANGS)
    with pytest.raises(TickoverError, match="It said nothing for 3 s"):
        _with([pack], None)
    assert not _alive(int((pack / "pid").read_text()))


def test_packs_that_are_starting_end_when_the_operation_is_cancelled(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", HANGS)

    async def go():
        starting = asyncio.create_task(_enter(pack))
        while not (pack / "pid").exists():  # noqa: ASYNC110 - written by another process
            await asyncio.sleep(0.02)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return starting.cancelled()

    async def _enter(path):
        async with PolicyPacks.start([path, path], project="demo", stack="dev", dry_run=True):
            raise AssertionError("it started")

    assert asyncio.run(go())
    assert not _alive(int((pack / "pid").read_text()))


def test_a_pack_that_dies_while_it_judges_is_an_error(tmp_path: Path) -> None:
    pack = write_pack(
        tmp_path / "pack",
        """
        import os
        from pulumi_policy import PolicyPack, ResourceValidationPolicy
        PolicyPack("frail", policies=[ResourceValidationPolicy("f", "F.", lambda a, r: os._exit(3))])
        """,
    )

    async def use(packs):
        return await packs.analyze(resource("a"))

    with pytest.raises(
        TickoverError, match=r"The pack frail in pack/ cannot judge this stack\. Analyze failed"
    ):
        _with([pack], use)


def test_the_secrets_of_a_stack_are_in_no_representation() -> None:
    assert "geheim" not in repr(policypack.PackRun("demo", "dev", True, {"demo:key": "geheim"}))
