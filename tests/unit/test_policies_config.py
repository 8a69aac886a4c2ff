"""Which level and properties a policy ends up with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickover.engine.policyconfig import (
    DeclaredPolicy,
    PolicyFile,
    PolicySetting,
    check_names,
    default_policy_config,
    effective,
    load_policy_file,
    parse_policy_file,
)
from tickover.errors import ConfigError, Exit

SIZE = DeclaredPolicy(
    "size",
    "advisory",
    {
        "most": {"type": "integer", "minimum": 1, "maximum": 9},
        "code": {"type": "string", "pattern": "^[a-z]$"},
        "unit": {"type": "string", "enum": ["kg", "t"]},
    },
    ("most",),
)
COLOUR = DeclaredPolicy("colour", "mandatory")


def settings(document: object, initial: dict[str, PolicySetting] | None = None) -> dict[str, PolicySetting]:
    return effective([SIZE, COLOUR], initial or {}, parse_policy_file(document, "f.json"))


def test_without_any_config_the_policy_decides() -> None:
    assert effective([COLOUR], {}, PolicyFile("f.json")) == {"colour": PolicySetting("mandatory", {})}


def test_the_more_special_source_wins() -> None:
    initial = {
        "size": PolicySetting("mandatory", {"most": 1, "unit": "kg"}),
        "colour": PolicySetting("remediate"),
    }
    assert settings({}, initial)["size"] == PolicySetting("mandatory", {"most": 1, "unit": "kg"})
    assert settings({"size": {"most": 2}}, initial)["size"] == PolicySetting(
        "mandatory", {"most": 2, "unit": "kg"}
    )
    assert settings({"all": "advisory"}, initial)["colour"].level == "advisory"
    assert settings({"all": "advisory", "colour": "mandatory"}, initial)["colour"].level == "mandatory"


def test_what_is_required_must_be_said_unless_the_policy_is_off() -> None:
    with pytest.raises(ConfigError) as caught:
        settings({"size": {"unit": "lb", "mots": 3}})
    assert caught.value.exit_code is Exit.CONFIGURATION
    assert caught.value.detail.splitlines() == [
        "f.json: size.most: required",
        "f.json: size.unit: must be one of kg, t",
        "f.json: size.mots: no such setting; did you mean most?",
    ]
    assert settings({"size": "disabled"})["size"].level == "disabled"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"most": 0}, "size.most: must be at least 1"),
        ({"most": 10}, "size.most: must be at most 9"),
        ({"most": 1, "code": "AB"}, "size.code: must match ^[a-z]$"),
    ],
)
def test_limits_and_patterns_of_a_schema(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings({"size": given})
    assert caught.value.detail == f"f.json: {said}"


def test_true_is_not_a_number() -> None:
    with pytest.raises(ConfigError, match=r"size\.most: must be of type integer"):
        settings({"size": {"most": True}})


def test_names_must_exist_but_all_is_no_name() -> None:
    check_names(parse_policy_file({"all": "advisory", "size": "disabled"}, "f"), ["size"])
    with pytest.raises(ConfigError, match=r"sise: no pack has this policy; did you mean size\?"):
        check_names(parse_policy_file({"sise": "disabled"}, "f"), ["size"])


def test_a_packs_file_for_a_stack(tmp_path: Path) -> None:
    assert default_policy_config(tmp_path, "dev") is None
    (tmp_path / "config").mkdir()
    path = tmp_path / "config" / "dev.json"
    path.write_text('{"size": "disabled"}')
    assert default_policy_config(tmp_path, "dev") == path
    assert load_policy_file(path).settings == {"size": PolicySetting("disabled", {})}


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy_file(tmp_path / "absent.json")
    assert caught.value.code == "bad-policy-config"
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match=r"broken\.json"):
        load_policy_file(tmp_path / "broken.json")
