"""The project's own pack, served by the real policy SDK and asked by our analyzer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from policies.rules import RULES
from tests.support.component_program import ROOT, SECRET, run
from tickover.engine.analyzer import AnalyzedResource, PolicyPacks
from tickover.engine.plan import PolicyViolation
from tickover.engine.values import UNKNOWN, Secret

PACK = ROOT / "policies"


def judge(
    resources: Sequence[AnalyzedResource], stack: str, policy_config: Path | None = None
) -> tuple[PolicyViolation, ...]:
    """What the pack says of every resource and of the stack."""

    async def go() -> tuple[PolicyViolation, ...]:
        async with PolicyPacks.start(
            [PACK], project="tickover", stack=stack, dry_run=True, policy_config=policy_config
        ) as packs:
            found = [v for r in resources for v in await packs.analyze(r)]
            return (*found, *await packs.analyze_stack(resources))

    return asyncio.run(go())


def of_stack(stack: str, **changes: object) -> list[AnalyzedResource]:
    """The resources that the program registers for a stack, its service changed."""
    document = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text())
    config = {key.removeprefix("tickover:"): value for key, value in document["config"].items()}
    config["services"]["chat"] |= changes
    ran = run(config=config, stack=stack, preview=True)
    assert ran.error is None
    by_name = {"::".join(r["urn"].rpartition("$")[2].split("::")[-2:]): r["urn"] for r in ran.resources}
    return [
        AnalyzedResource(
            urn=r["urn"],
            type=r["type"],
            name=r["name"],
            properties={k: _value(v) for k, v in (r["outputs"] or r["inputs"]).items()},
            parent=by_name.get(r["parent"], ""),
        )
        for r in ran.resources
    ]


def _value(value: object) -> object:
    if isinstance(value, list) and value[:1] == [SECRET]:
        return Secret(value[1])
    if isinstance(value, dict):
        return {k: _value(v) for k, v in value.items()}
    return [_value(v) for v in value] if isinstance(value, list) else value


def short(violations: Sequence[PolicyViolation]) -> list[tuple[str, str]]:
    return [(v.policy, v.level) for v in violations]


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_the_projects_own_stacks_pass_their_own_config(stack: str) -> None:
    assert judge(of_stack(stack), stack) == ()


def test_prod_by_tag_only_is_blocked_and_staging_is_not() -> None:
    by_tag = "registry-vpc.cn-hangzhou.aliyuncs.com/tickover/vllm-openai:v0.32.0"
    (violation,) = judge(of_stack("prod", image=by_tag), "prod")
    assert (violation.policy, violation.level) == ("image-pinned", "mandatory")
    assert violation.pack == "tickover"
    assert violation.pack_version == "0.1.0"
    assert f"The image {by_tag} of chat is named by tag only" in violation.message
    assert judge(of_stack("staging", image=by_tag), "staging") == ()


def test_everything_wrong_is_said_at_once() -> None:
    bad = of_stack("prod", image="a/b:latest", auth="anonymous", pool={"instances": 1, "idle": False})
    assert {name for name, _ in short(judge(bad, "prod"))} >= {
        "image-pinned",
        "no-anonymous-trigger-on-public-domain",
        "reserved-pool-idle-billing",
    }


def test_a_reason_lets_a_pool_stay_awake() -> None:
    awake = of_stack("staging", pool={"instances": 1, "idle": False, "reason": "first byte under 100 ms"})
    assert "reserved-pool-idle-billing" not in dict(short(judge(awake, "staging")))


def test_dev_is_only_advised() -> None:
    assert set(short(judge(of_stack("dev", pool={"idle": False}), "dev"))) == {
        ("reserved-pool-idle-billing", "advisory")
    }


def test_an_unknown_value_hides_no_other_finding() -> None:
    resources = of_stack("prod", auth="anonymous", pool={"instances": 1, "idle": False})
    blurred = [
        AnalyzedResource(
            r.urn, r.type, r.name, dict(r.properties) | {"urlInternet": UNKNOWN}, parent=r.parent
        )
        if r.type == "tickover:fc:Trigger"
        else AnalyzedResource(
            r.urn, r.type, r.name, dict(r.properties) | {"current": UNKNOWN}, parent=r.parent
        )
        for r in resources
    ]
    names = dict(short(judge(blurred, "prod")))
    assert {"no-anonymous-trigger-on-public-domain", "reserved-pool-idle-billing"} <= set(names)


def test_every_config_file_belongs_to_a_stack() -> None:
    stacks = {p.name.removeprefix("Pulumi.").removesuffix(".yaml") for p in (ROOT / "stacks").iterdir()}
    assert {p.stem for p in (PACK / "config").iterdir()} <= stacks


def test_the_pack_serves_every_rule() -> None:
    async def go() -> tuple[str, ...]:
        async with PolicyPacks.start([PACK], project="tickover", stack="none", dry_run=True) as packs:
            return packs.policies

    assert asyncio.run(go()) == tuple(rule.name for rule in RULES)
