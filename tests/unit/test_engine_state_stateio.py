"""Checkpoint and export JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engine_state import PROJECT, ROOT, STACK, deployment, keyring, locked_keyring, thing
from tests.support.engine_values import keys, values
from tickover.engine import stateio
from tickover.engine.secrets import PlainCrypter
from tickover.engine.state import CustomTimeouts, Deployment, PendingOperation, PendingType, ResourceState
from tickover.engine.statevalue import props_from_json, props_to_json, rfc3339
from tickover.engine.urn import is_urn
from tickover.engine.values import UNKNOWN, ResourceReference, Secret
from tickover.errors import TickoverError

SIG = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"


class Reversing:
    """A stand-in cipher whose texts can be told from their plaintexts."""

    provider = None

    def encrypt(self, plaintext):
        return "x" + plaintext[::-1]

    def decrypt(self, ciphertext):
        assert ciphertext[0] == "x"
        return ciphertext[1:][::-1]


def roundtrip(props, crypter):
    return props_from_json(json.loads(json.dumps(props_to_json(props, crypter))), crypter)


@given(st.dictionaries(keys, values, max_size=5))
def test_properties_survive_the_state_file(props):
    assert roundtrip(props, Reversing()) == props


@pytest.mark.parametrize(
    ("value", "bits"),
    [(math.inf, "7ff0000000000000"), (-math.inf, "fff0000000000000"), (math.nan, "7ff8000000000000")],
)
def test_floats_that_json_lacks_are_kept_as_bits(value, bits):
    raw = props_to_json({"f": value}, PlainCrypter())
    assert raw == {"f": {SIG: "8ad145fe-0d11-4827-bfd7-1abcbf086f5c", "value": bits}}
    back = props_from_json(raw, PlainCrypter())["f"]
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_a_secret_is_the_encrypted_json_of_its_value():
    raw = props_to_json({"s": Secret({"b": [1, None], "a": Secret("<&>")})}, Reversing())
    assert raw["s"].keys() == {SIG, "ciphertext"}
    inner = json.loads(Reversing().decrypt(raw["s"]["ciphertext"]))
    # the inner secret is marked, not encrypted twice
    assert inner == {"a": {SIG: SECRET, "ciphertext": '"<&>"'}, "b": [1, None]}


def test_show_secrets_gives_plaintext_and_it_reads_back():
    raw = props_to_json({"s": Secret("v")}, Reversing(), show_secrets=True)
    assert raw == {"s": {SIG: SECRET, "plaintext": '"v"'}}
    assert props_from_json(raw, Reversing()) == {"s": Secret("v")}


def test_a_reference_keeps_the_difference_between_no_id_and_unknown_id():
    props = {"c": ResourceReference("urn:c"), "k": ResourceReference("urn:k", "i", "1")}
    assert roundtrip(props, PlainCrypter()) == props
    assert props_to_json({"u": ResourceReference("urn:u", UNKNOWN)}, PlainCrypter())["u"]["id"] == ""


FULL = thing(
    "full",
    inputs={"b": 1, "a": Secret("s")},
    outputs={"o": [1.5, None, {"é<": "ü&"}]},
    dependencies=(ROOT,),
    property_dependencies={"b": (ROOT,)},
    protect=True,
    external=True,
    delete=True,
    pending_replacement=True,
    init_errors=("not ready",),
    additional_secret_outputs=("o",),
    aliases=("urn:pulumi:dev::demo::x:y:Z::old",),
    custom_timeouts=CustomTimeouts(create=60, update=1.5),
    import_id="imp",
    retain_on_delete=True,
    deleted_with=ROOT,
    created="2026-01-01T00:00:00Z",
    modified="2026-01-02T00:00:00Z",
    source_position="project:///__main__.py#1,2",
    ignore_changes=("a.b",),
    replace_on_changes=("c",),
    extra={"hideDiff": ["x"], "somethingNew": {"deep": [1, {"z": 1}]}},
)


def test_a_resource_with_every_field_survives():
    raw = stateio.resource_to_json(FULL, Reversing())
    assert stateio.resource_from_json(json.loads(json.dumps(raw)), Reversing()) == FULL
    assert list(raw)[:6] == ["urn", "custom", "delete", "id", "type", "inputs"]
    assert list(raw)[-1] == "somethingNew"
    assert raw["customTimeouts"] == {"create": 60, "update": 1.5}


def test_empty_fields_are_left_out():
    urn = deployment().resources[0].urn
    raw = stateio.resource_to_json(ResourceState(urn=urn, type="t:t:T", custom=False), PlainCrypter())
    assert raw == {"urn": urn, "custom": False, "type": "t:t:T"}


def test_a_checkpoint_has_the_form_the_cli_expects():
    state = replace(
        deployment(thing("a", outputs={"t": "<b> & ü"})), version="v1.2.3", time="2026-01-01T00:00:00Z"
    )
    data = stateio.checkpoint_bytes(state, STACK, PROJECT, PlainCrypter())
    assert data.startswith(
        b'{"version":3,"checkpoint":{"stack":"organization/demo/dev","latest":{"manifest":'
    )
    assert "<b> & ü".encode() in data
    assert b": " not in data
    latest = json.loads(data)["checkpoint"]["latest"]
    assert list(latest["manifest"]) == ["time", "magic", "version"]
    assert latest["metadata"] == {}
    assert "secrets_providers" not in latest


def test_the_magic_is_the_hash_of_the_version():
    # sha256sum of "v3.259.0", taken with coreutils
    assert stateio.magic("v3.259.0") == "ab35920a3077459b09dd1a3f7ddc28df4e3efc81b3240013bb6906688abc684d"
    assert stateio.magic("") == ""


def test_pending_operations_and_unknown_fields_survive():
    state = Deployment(
        resources=deployment().resources,
        pending_operations=(PendingOperation(thing("p"), PendingType.CREATING),),
        version="v1",
        time="2026-01-01T00:00:00Z",
        extra={"snippets": [{"uuid": "1"}], "$manifest": {"plugins": [{"name": "x"}]}},
    )
    data = stateio.checkpoint_bytes(state, STACK, PROJECT, PlainCrypter())
    assert stateio.deployment_from_checkpoint(data, locked_keyring().for_provider) == state


def test_a_feature_makes_it_version_four_and_is_kept():
    state = deployment(thing("a", extra={"resourceHooks": {"before-create": ["h"]}, "taint": True}))
    document = json.loads(stateio.checkpoint_bytes(state, STACK, PROJECT, PlainCrypter()))
    assert (document["version"], document["features"]) == (4, ["hooks", "taint"])
    data = json.dumps(document | {"features": ["hooks", "taint", "byteString"]}).encode()
    loaded = stateio.deployment_from_checkpoint(data, locked_keyring().for_provider)
    assert stateio.features_of(loaded) == ["byteString", "hooks", "taint"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": ["timeTravel"]}, "timeTravel"),
        ({"version": 9}, "schema version is 9"),
        ({"checkpoint": {"latest": {"manifest": {"version": "v1", "magic": "00"}}}}, "magic"),
        ({"checkpoint": {"latest": {"resources": [{"inputs": 5}]}}}, "another shape"),
    ],
)
def test_what_cannot_be_read_is_refused(change, words):
    document = json.loads(stateio.checkpoint_bytes(deployment(), STACK, PROJECT, PlainCrypter()))
    with pytest.raises(TickoverError, match=words):
        stateio.deployment_from_checkpoint(
            json.dumps(document | change).encode(), locked_keyring().for_provider
        )


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe"])
def test_what_is_no_document_is_refused(data):
    with pytest.raises(TickoverError, match="State cannot be read"):
        stateio.deployment_from_checkpoint(data, locked_keyring().for_provider)


def test_a_stack_that_was_never_deployed_is_empty():
    data = b'{"version":3,"checkpoint":{"stack":"organization/demo/dev"}}'
    assert stateio.deployment_from_checkpoint(data, locked_keyring().for_provider) == Deployment()


def test_export_hides_secrets_unless_asked():
    ring = keyring()
    state = deployment(thing("a", inputs={"p": Secret("hunter2")}))
    hidden = stateio.export_document(state, ring.for_provider(None))
    shown = stateio.export_document(state, ring.for_provider(None), show_secrets=True)
    assert hidden["version"] == 3
    assert "hunter2" not in json.dumps(hidden)
    assert "hunter2" in json.dumps(shown)
    assert hidden["deployment"]["secrets_providers"]["type"] == "passphrase"
    back = stateio.deployment_from_export(json.loads(json.dumps(hidden)), ring.for_provider)
    assert back.resources == state.resources


def test_test_states_are_sound():
    assert all(is_urn(r.urn) for r in deployment(thing("a")).resources)


@pytest.mark.parametrize(
    ("microsecond", "text"),
    [(0, "2026-01-02T03:04:00Z"), (317850, "2026-01-02T03:04:00.31785Z"), (1, "2026-01-02T03:04:00.000001Z")],
)
def test_a_moment_is_written_as_the_cli_writes_it(microsecond, text):
    here = timezone(timedelta(hours=2))
    assert rfc3339(datetime(2026, 1, 2, 5, 4, 0, microsecond, here)) == text
