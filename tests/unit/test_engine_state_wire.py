"""Values over protobuf."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engine_values import REF, keys, values
from tickover.engine import wire
from tickover.engine.values import UNKNOWN, Archive, Asset, ResourceReference, Secret


@given(st.dictionaries(keys, values, max_size=5))
def test_what_is_encoded_decodes_to_itself(props):
    assert wire.decode(Struct.FromString(wire.encode(props).SerializeToString())) == props


def test_numbers_come_back_integral():
    decoded = wire.decode(wire.encode({"a": 3, "b": 3.0, "c": 3.5, "d": True, "e": 1e300}))
    assert decoded == {"a": 3, "b": 3, "c": 3.5, "d": True, "e": 1e300}
    assert [type(decoded[k]) for k in "abde"] == [int, int, bool, float]


def test_unknowns_of_every_kind_are_one():
    struct = Struct()
    struct.update({str(i): text for i, text in enumerate(sorted(wire.UNKNOWN_SENTINELS))})
    assert set(wire.decode(struct).values()) == {UNKNOWN}
    assert len(wire.UNKNOWN_SENTINELS) == 7


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"value": "x"}, "x"),
        ({"value": "x", "secret": True}, Secret("x")),
        ({}, UNKNOWN),
        ({"secret": True, "dependencies": ["urn:1"]}, Secret(UNKNOWN)),
        ({"value": {wire.SIG_KEY: wire.SECRET_SIG, "value": 1}, "secret": True}, Secret(1)),
    ],
)
def test_output_values_are_lowered(form, expected):
    struct = Struct()
    struct.update({"p": {wire.SIG_KEY: wire.OUTPUT_SIG} | form})
    assert wire.decode(struct) == {"p": expected}


def test_dependencies_of_output_values_are_found_at_any_depth():
    struct = Struct()
    inner = {wire.SIG_KEY: wire.OUTPUT_SIG, "value": 1, "dependencies": ["urn:b"]}
    struct.update({"p": [{wire.SIG_KEY: wire.OUTPUT_SIG, "value": {"q": inner}, "dependencies": ["urn:a"]}]})
    assert wire.output_dependencies(struct) == {"urn:a", "urn:b"}


def test_a_peer_gets_only_what_it_keeps():
    props = {"u": UNKNOWN, "l": [1, UNKNOWN], "s": Secret({"k": UNKNOWN, "m": 2}), "r": REF}
    lowered = wire.encode(props, keep_unknowns=False, keep_secrets=False, keep_resources=False)
    assert wire.decode(lowered) == {"l": [1], "s": {"m": 2}, "r": "id-1"}


def test_references_are_lowered_to_id_urn_or_unknown():
    props = {
        "component": ResourceReference("urn:c"),
        "custom": REF,
        "early": ResourceReference("urn:e", UNKNOWN),
    }
    assert wire.decode(wire.encode(props), keep_resources=False) == {
        "component": "urn:c",
        "custom": "id-1",
        "early": UNKNOWN,
    }


def test_secret_unknown_for_a_peer_without_secrets_is_unknown():
    assert wire.decode(wire.encode({"a": Secret(UNKNOWN)}, keep_secrets=False)) == {"a": UNKNOWN}


def test_outputs_named_like_secret_inputs_become_secret_again():
    inputs = {"a": Secret(1), "b": {"c": Secret(2)}, "d": 3}
    assert wire.remark_secrets({"a": 1, "b": {"c": 2}, "d": 3, "e": 4}, inputs) == {
        "a": Secret(1),
        "b": Secret({"c": 2}),
        "d": 3,
        "e": 4,
    }


def test_an_archive_without_resources_kept_keeps_its_assets():
    archive = Archive(assets={"f": Asset(text="x"), "g": Secret("y")})
    assert wire.decode(wire.encode({"a": archive}, keep_secrets=False)) == {
        "a": Archive(assets={"f": Asset(text="x"), "g": "y"})
    }
