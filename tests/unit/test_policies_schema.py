"""Settings of policies against the JSON schemas they declare, and where those settings come from."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.engine.policyconfig import (
    DeclaredPolicy,
    PolicyFile,
    effective,
    load_policy_file,
    paired_files,
    parse_policy_file,
)
from tickover.engine.policyschema import problems_of
from tickover.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "schema", "said"),
    [
        ("x", {"type": "string"}, []),
        (1, {"type": "string"}, ["k: must be of type string"]),
        (None, {"type": ["string", "null"]}, []),
        (1.0, {"type": "integer"}, []),
        (True, {"type": "integer"}, ["k: must be of type integer"]),
        (3, {"const": 4}, ["k: must be 4"]),
        (1, {"enum": [True]}, ["k: must be one of True"]),
        ("ab", {"minLength": 3}, ["k: must have at least 3 characters"]),
        ("ab", {"pattern": "^a$"}, ["k: must match ^a$"]),
        (5, {"exclusiveMaximum": 5}, ["k: must be less than 5"]),
        (5, {"maximum": 5, "exclusiveMaximum": True}, ["k: must be less than 5"]),
        (5, {"minimum": 5, "exclusiveMinimum": False}, []),
        (5, {"multipleOf": 2}, ["k: must be a multiple of 2"]),
        ([1, 1], {"uniqueItems": True}, ["k: must hold nothing twice"]),
        ([1, "a"], {"items": {"type": "integer"}}, ["k[1]: must be of type integer"]),
        ([], {"minItems": 1}, ["k: must have at least 1 items"]),
        ({}, {"required": ["a"]}, ["k.a: required"]),
        (
            {"a": {"b": [1]}},
            {"properties": {"a": {"properties": {"b": {"items": {"minimum": 2}}}}}},
            ["k.a.b[0]: must be at least 2"],
        ),
        (
            {"b": 1},
            {"properties": {"a": {}}, "additionalProperties": False},
            ["k.b: no such setting"],
        ),
        (1, {"anyOf": [{"type": "string"}, {"minimum": 2}]}, ["k: fits none of the 2 forms it may have"]),
        (
            3,
            {"oneOf": [{"minimum": 1}, {"minimum": 2}]},
            ["k: fits 2 of the 2 forms of which it must have one"],
        ),
        (1, {"allOf": [{"minimum": 2}, {"minimum": 3}]}, ["k: must be at least 2", "k: must be at least 3"]),
        (1, {"not": {"type": "integer"}}, ["k: must not have this form"]),
    ],
)
def test_every_word_of_a_schema(value, schema, said):
    assert problems_of(value, schema, "k") == said


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0, "", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=5,
)
types = st.sampled_from(["string", "boolean", "integer", "number", "array", "object", "null"])
words = st.fixed_dictionaries(
    {},
    optional={
        "type": types | st.lists(types, min_size=1, max_size=2, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "minLength": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "minProperties": st.integers(0, 1),
        "uniqueItems": st.booleans(),
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
    },
)
schemas = st.recursive(
    words,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "additionalProperties": inner | st.just(False),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    ),
    max_leaves=4,
)


@given(values, schemas)
def test_a_value_fits_exactly_when_a_validator_of_others_says_so(value, schema):
    expected = jsonschema.Draft7Validator(schema).is_valid(value)
    assert (problems_of(value, schema, "k") == []) == expected


def test_a_setting_nobody_makes_has_the_default_of_its_schema():
    policy = DeclaredPolicy("size", "advisory", {"most": {"type": "integer", "default": 3}}, ("most",))
    assert effective([policy], {}, PolicyFile("f"))["size"].properties == {"most": 3}
    given_file = parse_policy_file({"size": {"most": 4}}, "f")
    assert effective([policy], {}, given_file)["size"].properties == {"most": 4}


def test_an_empty_file_sets_nothing(tmp_path: Path):
    (tmp_path / "empty.json").write_text(" \n")
    assert load_policy_file(tmp_path / "empty.json").settings == {}


def test_environments_are_refused_by_name():
    with pytest.raises(ConfigError, match="environments: only Pulumi Cloud resolves environments"):
        parse_policy_file({"environments": ["team/prod"]}, "f")


def test_files_are_for_packs_in_their_order(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text("{}")
    packs = [tmp_path / "a", tmp_path / "b"]
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    assert paired_files(packs, None) == (None, None)
    assert [f.name for f in paired_files(packs, files) if f] == ["one.json", "two.json"]
    assert [f.name for f in paired_files(packs[:1], files[0]) if f] == ["one.json"]
    with pytest.raises(ConfigError) as caught:
        paired_files(packs, files[0])
    assert "in the same order" in caught.value.hint


def test_a_wrong_value_is_told_though_the_policy_is_off():
    policy = DeclaredPolicy("size", "disabled", {"most": {"type": "integer"}}, ("least",))
    assert effective([policy], {}, PolicyFile("f"))["size"].level == "disabled"
    with pytest.raises(ConfigError, match=r"size\.most: must be of type integer"):
        effective([policy], {}, parse_policy_file({"size": {"most": "two"}}, "f"))
