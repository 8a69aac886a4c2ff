"""One program and one policy pack under both engines: the same end, the same stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.matrix_result import normalised
from tests.support.policy_packs import write_pack
from tests.support.real_pulumi import ENGINES, OURS, REAL, Workspace

PROGRAM = """
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider, UpdateResult

class Paints(ResourceProvider):
    def create(self, props):
        return CreateResult(props["name"], {k: v for k, v in props.items() if k != "__provider"})
    def update(self, id, olds, news):
        return UpdateResult({k: v for k, v in news.items() if k != "__provider"})

class Paint(Resource):
    colour: pulumi.Output[str]
    def __init__(self, name, props, opts=None):
        super().__init__(Paints(), name, {"name": name, **props}, opts)

first = Paint("first", {"colour": "blue", "note": pulumi.Output.secret("hidden")})
second = Paint("second", {"colour": COLOUR, "after": first.colour})
pulumi.export("colour", second.colour)
"""
PACK = """
from pulumi_policy import (
    EnforcementLevel, PolicyConfigSchema, PolicyPack, ResourceValidationPolicy, StackValidationPolicy,
)

def is_paint(args):
    return args.resource_type.startswith("pulumi-python:dynamic")

def no_red(args, report):
    if is_paint(args) and args.props["colour"] == args.get_config().get("colour", "red"):
        report(f"{args.name} is red")

def green(args):
    if is_paint(args) and args.props["colour"] == "red":
        args.props["colour"] = "green"
        return args.props

def few(args, report):
    if sum(is_paint(r) for r in args.resources) > args.get_config()["most"]:
        report("too many")

def breaks(args, report):
    raise RuntimeError("it breaks")

off = EnforcementLevel.DISABLED
PolicyPack("paint", policies=[
    ResourceValidationPolicy("no-red", "Nothing is red.", no_red, off,
        PolicyConfigSchema({"colour": {"type": "string", "default": "red"}}), remediate=green),
    StackValidationPolicy("few", "Few paints.", few, off,
        PolicyConfigSchema({"most": {"type": "integer", "default": 1, "maximum": 9}})),
    ResourceValidationPolicy("breaks", "Breaks.", breaks, off),
])
"""
# What the pack is configured with -> does a red paint pass the preview, the up, and what colour has it then?
CASES = {
    "advisory": ({"no-red": "advisory"}, True, True, "red"),
    "mandatory": ({"no-red": "mandatory"}, False, False, None),
    "mandatory of another colour": (
        {"no-red": {"enforcementLevel": "mandatory", "colour": "pink"}},
        True,
        True,
        "red",
    ),
    "remediate": ({"no-red": "remediate"}, True, True, "green"),
    "remediate what the rule still forbids": (
        {"no-red": {"enforcementLevel": "remediate", "colour": "green"}},
        False,
        False,
        None,
    ),
    "stack advisory": ({"few": "advisory"}, True, True, "red"),
    "stack mandatory": ({"few": "mandatory"}, False, False, "red"),
    "stack remediate": ({"few": "remediate"}, False, False, "red"),
    "stack within its limit": ({"few": {"enforcementLevel": "mandatory", "most": 2}}, True, True, "red"),
    "all mandatory, breaks disabled": ({"all": "mandatory", "breaks": "disabled"}, False, False, None),
    "a rule that raises": ({"breaks": "advisory"}, False, False, None),
    "a config that breaks its schema": ({"few": {"most": 10}}, False, False, None),
    "a config of the wrong type": ({"few": {"most": "two"}}, False, False, None),
    "a level that is none": ({"no-red": "strict"}, False, False, None),
}


def _paints(space: Workspace, engine: str) -> list[dict]:
    if space.run(engine, "stack", "export", "-s", "dev").code != 0:
        return []
    found, pending = normalised(space.export(engine)["deployment"] or {}, space.folder)
    assert not pending
    for one in found:
        for bag in ("inputs", "outputs"):
            one.get(bag, {}).pop("__provider", None)  # a pickle, which holds the program's folder
    return list(found)


def _run(folder: Path, engine: str, config: dict) -> tuple[bool, bool, list[dict], str]:
    space = Workspace(folder / engine)
    space.use(PROGRAM.replace("COLOUR", '"red"'))
    pack = write_pack(folder / engine / "pack", PACK)
    (folder / engine / "levels.json").write_text(json.dumps(config))
    policies = ("--policy-pack", str(pack), "--policy-pack-config", str(folder / engine / "levels.json"))
    preview = space.operate(engine, "preview", *policies, check=False)
    up = space.operate(engine, "up", *policies, check=False)
    return preview.code == 0, up.code == 0, _paints(space, engine), preview.told() + up.told()


@pytest.mark.parametrize("case", CASES)
def test_a_level_means_the_same_under_both_engines(tmp_path, case):
    config, previews, deploys, colour = CASES[case]
    results = {engine: _run(tmp_path, engine, config) for engine in ENGINES}
    for engine, (did_preview, did_up, paints, told) in results.items():
        assert (engine, did_preview, did_up) == (engine, previews, deploys), told
        colours = [p["outputs"].get("colour") for p in paints if p["urn"].endswith("::second")]
        assert colours == ([colour] if colour else []), told
    assert results[OURS][2] == results[REAL][2]


@pytest.mark.parametrize(("one", "other"), [(OURS, REAL), (REAL, OURS)])
def test_what_one_engine_remedied_the_other_leaves_alone(tmp_path, one, other):
    space = Workspace(tmp_path)
    space.use(PROGRAM.replace("COLOUR", '"red"'))
    pack = write_pack(tmp_path / "pack", PACK)
    (tmp_path / "levels.json").write_text('{"no-red": "remediate"}')
    policies = ("--policy-pack", str(pack), "--policy-pack-config", str(tmp_path / "levels.json"))
    space.operate(one, "up", *policies)
    space.operate(other, "preview", *policies, "--expect-no-changes")
    space.fails(other, "preview", "-s", "dev", "--expect-no-changes")  # without the pack it is red again
    space.operate(other, "destroy")
    assert space.export(one)["deployment"].get("resources", []) == []


def test_packs_and_configs_must_be_as_many(tmp_path):
    for engine in ENGINES:
        space = Workspace(tmp_path / engine)
        space.use(PROGRAM.replace("COLOUR", '"blue"'))
        pack = str(write_pack(tmp_path / engine / "pack", PACK))
        (tmp_path / engine / "levels.json").write_text("{}")
        config = ("--policy-pack-config", str(tmp_path / engine / "levels.json"))
        two = space.operate(
            engine, "preview", "--policy-pack", pack, "--policy-pack", pack, *config, check=False
        )
        assert two.code != 0, two.told()
