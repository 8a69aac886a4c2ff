"""Saved plans: the file, and what they are bound to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import engine_state, engine_values
from tests.support.saved_plans import (
    CRYPTER,
    ROOT,
    URN,
    Reversing,
    binding,
    goal,
    plan_of,
    planned,
    read_back,
)
from tests.support.schemas import validate
from tickover.engine import savedplan
from tickover.engine.goal import Goal
from tickover.engine.plan import Op, Plan, Step
from tickover.engine.state import ResourceState
from tickover.engine.values import UNKNOWN, ResourceReference, Secret
from tickover.engine.wire import UNKNOWN_STRING
from tickover.errors import Exit, TickoverError

# --- the file ------------------------------------------------------------------------------------------


def test_a_plan_comes_back_as_it_was() -> None:
    plan = plan_of(planned(), targets=["*"], refresh=True)
    assert read_back(plan) == plan


@given(st.dictionaries(engine_values.keys, engine_values.values, max_size=4))
def test_any_value_comes_back_as_it_was(inputs: dict[str, Any]) -> None:
    resource = dataclasses.replace(planned(inputs=inputs), outputs=inputs)
    plan = plan_of(resource)
    data = savedplan.to_bytes(plan, CRYPTER)
    assert savedplan.from_bytes(data, CRYPTER) == plan
    validate("savedplan", json.loads(data))


@given(st.dictionaries(engine_values.keys, engine_values.values, max_size=4))
def test_a_plan_does_not_depart_from_itself(inputs: dict[str, Any]) -> None:
    one = planned(inputs=inputs)
    assert savedplan.departure(read_back(plan_of(one)).resources[URN], Op.CREATE, one.goal) is None


@pytest.mark.parametrize("wrap", [lambda v: v, Secret, lambda v: [v], lambda v: {"x": Secret([v])}])
def test_a_reference_to_what_has_no_id_yet_stays_one(wrap: Callable[[Any], Any]) -> None:
    plan = plan_of(planned(inputs={"of": wrap(ResourceReference(URN, UNKNOWN))}))
    assert read_back(plan) == plan


@given(st.text(st.characters(codec="utf-8"), min_size=5))
def test_no_secret_is_in_the_file(word: str) -> None:
    word = "s3cr3t" + word
    resource = dataclasses.replace(
        planned(inputs={"a": Secret({"b": word})}, replacement_trigger=Secret(word)),
        outputs={"o": [Secret(word)]},
    )
    data = savedplan.to_bytes(plan_of(resource), CRYPTER)
    assert b"s3cr3t" not in data
    assert "s3cr3t" not in repr(plan_of(resource))


def test_the_salt_of_secret_config_is_a_secret() -> None:
    assert b"00" * 16 not in savedplan.to_bytes(plan_of(), CRYPTER)
    assert "00" * 16 not in repr(plan_of())
    open_ = dataclasses.replace(plan_of(), binding=binding(secret_keys=()))
    assert b"00" * 16 in savedplan.to_bytes(open_, CRYPTER)
    assert read_back(open_) == open_


def test_the_file_is_readable() -> None:
    body = json.loads(savedplan.to_bytes(plan_of(planned()), CRYPTER))
    (resource,) = body["resources"]
    assert resource["ops"] == ["create"]
    assert resource["goal"]["inputs"]["size"] == 3
    assert resource["goal"]["inputs"]["url"] == UNKNOWN_STRING
    assert resource["goal"]["options"]["custom_timeouts"] == {"create": 5}
    assert body["binding"]["program"]["__main__.py"] == "1" * 64


def _changed(**fields: Any) -> bytes:
    body = json.loads(savedplan.to_bytes(plan_of(planned()), CRYPTER)) | fields
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a plan that tickover saved"),
        (b"{}", "not a plan that tickover saved"),
        (b'{"resourcePlans": {}}', "pulumi up --plan"),
        (b'{"kind": "tickover-saved-plan"}', "format version"),
        (_changed(format_version="2.0"), "format version is '2.0'"),
        (_changed(stack="prod"), "checksum"),
        (savedplan.to_bytes(plan_of(planned()), CRYPTER)[:-40], "not JSON"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(TickoverError, match=why) as caught:
        savedplan.from_bytes(data, CRYPTER, "plan.json")
    assert (caught.value.code, caught.value.exit_code) == ("bad-plan", Exit.CONFIGURATION)
    assert caught.value.address == "plan.json"


@given(st.data())
def test_no_flipped_byte_goes_unnoticed(data: st.DataObject) -> None:
    good = savedplan.to_bytes(plan_of(planned()), CRYPTER)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    try:
        read = savedplan.from_bytes(bytes(bad), CRYPTER)
    except TickoverError as error:
        assert error.code == "bad-plan"
    else:
        assert read == plan_of(planned())  # only white space was touched


class Other(Reversing):
    """The key of another stack."""

    def decrypt(self, ciphertext: str) -> str:
        raise TickoverError("bad-secret", "Secret cannot be decrypted")


def test_another_stacks_secrets_are_told_apart() -> None:
    data = savedplan.to_bytes(plan_of(planned()), CRYPTER)
    with pytest.raises(TickoverError, match="another key"):
        savedplan.from_bytes(data, Other("v1:other"))


def test_a_plan_without_secrets_needs_no_key() -> None:
    plan = dataclasses.replace(
        plan_of(planned(inputs={"a": 1}, replacement_trigger=None)), binding=binding(secret_keys=())
    )
    assert savedplan.from_bytes(savedplan.to_bytes(plan, CRYPTER), Other("v1:other")) == plan
    locked = engine_state.locked_keyring().for_provider
    assert savedplan.from_bytes(savedplan.to_bytes(plan, locked(None)), locked) == plan


def test_the_file_names_the_key_of_its_secrets() -> None:
    plan = plan_of(planned())
    data = savedplan.to_bytes(plan, engine_state.keyring().for_provider(None))
    assert savedplan.from_bytes(data, engine_state.keyring().for_provider) == plan
    with pytest.raises(TickoverError, match="does not open"):
        savedplan.from_bytes(data, engine_state.keyring("another").for_provider)


def test_a_field_of_another_form_is_refused() -> None:
    body = json.loads(savedplan.to_bytes(plan_of(planned()), CRYPTER))
    body["resources"][0]["ops"] = ["paint"]
    del body["checksum"]
    body["checksum"] = savedplan._checksum(body)
    with pytest.raises(TickoverError, match="another form"):
        savedplan.from_bytes(json.dumps(body).encode(), CRYPTER)


# --- made from a plan ------------------------------------------------------------------------------------


def test_a_plan_is_kept_by_resource_with_checked_inputs_and_all_steps() -> None:
    old = ResourceState(urn=URN, type="test:index:Thing", custom=True, id="1")
    new = dataclasses.replace(old, inputs={"size": 4, "name": "a-1f"}, outputs={"url": UNKNOWN})
    shared = {"urn": URN, "type": old.type, "name": "a", "custom": True}
    gone = "urn:pulumi:dev::app::test:index:Thing::gone"
    plan = Plan(
        "app",
        "dev",
        (
            Step(Op.SAME, ROOT, "pulumi:pulumi:Stack", "app-dev", False),
            Step(Op.CREATE_REPLACEMENT, old=old, new=new, reasons=("replace: size",), **shared),
            Step(Op.REPLACE, old=old, new=new, reasons=("replace: size",), **shared),
            Step(Op.DELETE_REPLACED, old=old, **shared),
            Step(Op.DELETE, gone, old.type, "gone", True, old=old),
        ),
        outputs={"o": 1},
    )
    root = Goal(urn=ROOT, type="pulumi:pulumi:Stack", name="app-dev", custom=False)
    made = savedplan.saved_plan(
        plan, {URN: goal(inputs={"size": 4}), ROOT: root}, binding(), created="now", options={"refresh": True}
    )
    thing = made.resources[URN]
    assert thing.ops == (Op.CREATE_REPLACEMENT, Op.REPLACE, Op.DELETE_REPLACED)
    assert thing.reasons == ("replace: size",)
    assert thing.goal is not None
    assert thing.goal.inputs == {"size": 4, "name": "a-1f"}
    assert thing.outputs == {"url": UNKNOWN}
    assert made.resources[gone].goal is None
    assert made.resources[ROOT].outputs == {"o": 1}
    assert read_back(made) == made


# --- moved -----------------------------------------------------------------------------------------------


def test_nothing_moved() -> None:
    assert savedplan.moved(binding(), binding(state_time="later", state_by="anna")) == ()
    assert savedplan.moved(binding(), binding(salt=binding().config_salt)) == ()


def test_two_plans_have_two_salts() -> None:
    assert binding(salt="").config != binding(salt="").config


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"state": "cd", "state_time": "2026-11-23T05:00:00Z", "state_by": "anna@box"},
            "the stack's state was changed since (last at 2026-11-23T05:00:00Z by anna@box)",
        ),
        ({"state": "cd"}, "the stack's state was changed since"),
        ({"config": {"app:size": "4", "app:token": "hunter2"}}, "config key app:size changed"),
        ({"config": {"app:size": "3"}}, "config key app:token was removed"),
        ({"config": {"app:size": "3", "app:token": "hunter2", "x:y": ""}}, "config key x:y was added"),
        ({"program": {"__main__.py": "3", "Pulumi.yaml": "2" * 64}}, "program file __main__.py changed"),
        ({"program": {"Pulumi.yaml": "2" * 64}}, "program file __main__.py was removed"),
        ({"providers": {"test": "1.3.0"}}, "provider test 1.2.0 → 1.3.0"),
        ({"providers": {}}, "provider test 1.2.0 → none"),
        ({"tool": "0.2.0"}, "tickover 0.1.0 → 0.2.0"),
    ],
)
def test_what_moved_is_named(changed: dict[str, Any], reason: str) -> None:
    assert savedplan.moved(binding(), binding(**changed)) == (reason,)


def test_a_plan_of_another_stack_says_only_that() -> None:
    other = dataclasses.replace(binding(state="cd"), stack="prod")
    assert savedplan.moved(binding(), other) == ("it was made for app/dev, and this is app/prod",)


def test_many_changed_files_are_counted() -> None:
    many = {f"{i:02}.py": "1" for i in range(20)}
    reasons = savedplan.moved(binding(program=many), binding(program=dict.fromkeys(many, "2")))
    assert len(reasons) == 6
    assert reasons[-1] == "15 more program files differ"


def test_a_stale_plan_has_its_own_error() -> None:
    error = savedplan.refused(plan_of(), ("provider test 1.2.0 → 1.3.0",), "p.json")
    assert error.code == "stale-plan"
    assert "  provider test 1.2.0 → 1.3.0" in str(error)
    assert error.hint == "tickover preview -s dev --save-plan p.json"


# --- the program -----------------------------------------------------------------------------------------


def _project(root: Path) -> Path:
    for name in (
        *("__main__.py", "components/a.py", "Pulumi.yaml", "requirements.txt", "uv.lock", "notes.md"),
        *("env/pyvenv.cfg", "env/lib/x.py", "venv/x.py", ".hidden/x.py", "__pycache__/x.py"),
        *(".tickover/x.py", "data/requirements.txt", "Pulumi.dev.yaml"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_the_program_is_its_python_files_and_what_it_is_installed_from(tmp_path: Path) -> None:
    root = _project(tmp_path / "one")
    assert list(savedplan.program_files(root, root)) == [
        "Pulumi.yaml", "__main__.py", "components/a.py", "requirements.txt", "uv.lock",
    ]  # fmt: skip
    assert savedplan.program_digest(root, root) == savedplan.program_digest(
        _project(tmp_path / "two"), tmp_path / "two"
    )


@pytest.mark.parametrize("name", ["__main__.py", "components/a.py", "Pulumi.yaml", "new.py"])
def test_a_changed_file_is_another_program(tmp_path: Path, name: str) -> None:
    root = _project(tmp_path)
    before = savedplan.program_digest(root, root)
    (root / name).write_text("changed")
    assert savedplan.program_digest(root, root) != before


def test_a_file_below_that_does_not_count_changes_nothing(tmp_path: Path) -> None:
    root = _project(tmp_path)
    before = savedplan.program_digest(root, root)
    for name in ("notes.md", "env/lib/x.py", "venv/x.py", ".tickover/x.py", "Pulumi.dev.yaml"):
        (root / name).write_text("changed")
    assert savedplan.program_digest(root, root) == before


def test_a_program_beside_its_project_counts(tmp_path: Path) -> None:
    root, main = _project(tmp_path / "infra"), _project(tmp_path / "program")
    found = savedplan.program_files(root, main)
    assert {"__main__.py", "main:__main__.py"} <= set(found)
    assert set(savedplan.program_files(root, main / "__main__.py")) == set(found)


def test_a_dangling_link_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "x.py").symlink_to("nowhere")
    assert savedplan.program_files(tmp_path, tmp_path)["x.py"].startswith("unreadable")
