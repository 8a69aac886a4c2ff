"""Saved plans: the file, what they are bound to, what departs from them."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import engine_state, engine_values
from tests.support.schemas import validate
from tickover.engine import savedplan
from tickover.engine.goal import Alias, Goal
from tickover.engine.plan import Op, Plan, Step
from tickover.engine.state import CustomTimeouts, ResourceState, SecretsProvider
from tickover.engine.values import UNKNOWN, Archive, Asset, ResourceReference, Secret
from tickover.engine.wire import UNKNOWN_STRING
from tickover.errors import Exit, TickoverError

URN = "urn:pulumi:dev::app::test:index:Thing::a"
ROOT = "urn:pulumi:dev::app::pulumi:pulumi:Stack::app-dev"
PROVIDER = "urn:pulumi:dev::app::pulumi:providers:test::default"


class Reversing:
    """A crypter that costs nothing, and does not leave its text readable."""

    def __init__(self, salt: str = "v1:salt") -> None:
        self.provider = SecretsProvider("passphrase", {"salt": salt})

    def encrypt(self, plaintext: str) -> str:
        return base64.b64encode(plaintext[::-1].encode("utf-8", "surrogatepass")).decode()

    def decrypt(self, ciphertext: str) -> str:
        return base64.b64decode(ciphertext).decode("utf-8", "surrogatepass")[::-1]


CRYPTER = Reversing()


def binding(**changed: Any) -> savedplan.Binding:
    given_: dict[str, Any] = {
        "state": "ab" * 32,
        "config": {"app:size": "3", "app:token": "hunter2"},
        "secret_keys": ("app:token",),
        "program": {"__main__.py": "1" * 64, "Pulumi.yaml": "2" * 64},
        "providers": {"test": "1.2.0"},
        "tool": "0.1.0",
        "salt": "00" * 16,
    }
    given_ |= changed
    return savedplan.bind("app", "dev", **given_)


def goal(**changed: Any) -> Goal:
    given_: dict[str, Any] = {
        "urn": URN,
        "type": "test:index:Thing",
        "name": "a",
        "custom": True,
        "parent": ROOT,
        "inputs": {"size": 3, "token": Secret("hunter2"), "url": UNKNOWN},
        "provider": f"{PROVIDER}::{UNKNOWN_STRING}",
        "dependencies": (ROOT,),
        "property_dependencies": {"size": (ROOT,)},
        "protect": True,
        "aliases": (Alias(name="b"),),
        "custom_timeouts": CustomTimeouts(create=5.0),
        "replacement_trigger": Secret([1]),
    }
    return Goal(**(given_ | changed))


def planned(*ops: Op, **changed: Any) -> savedplan.PlannedResource:
    made = goal(**changed)
    return savedplan.PlannedResource(URN, ops or (Op.CREATE,), savedplan.planned_goal(made, made.inputs))


def plan_of(*resources: savedplan.PlannedResource, **options: Any) -> savedplan.SavedPlan:
    return savedplan.SavedPlan(binding(), "2026-11-23T04:00:00Z", options, {r.urn: r for r in resources})


def read_back(plan: savedplan.SavedPlan) -> savedplan.SavedPlan:
    return savedplan.from_bytes(savedplan.to_bytes(plan, CRYPTER), CRYPTER)


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


# --- departures ------------------------------------------------------------------------------------------

REPLACING = (Op.CREATE_REPLACEMENT, Op.REPLACE, Op.DELETE_REPLACED)


@pytest.mark.parametrize("actual", list(Op))
@pytest.mark.parametrize("wanted", list(Op))
def test_an_operation_may_be_less_than_planned_and_nothing_else(wanted: Op, actual: Op) -> None:
    less = {Op.CREATE: {Op.SAME}, Op.UPDATE: {Op.SAME}} | {op: {Op.SAME, Op.UPDATE} for op in REPLACING}
    is_fine = actual is wanted or actual in less.get(wanted, set())
    said = savedplan.departure(planned(wanted), actual, planned(wanted).goal)
    assert (said is None) is is_fine
    if said:
        assert wanted.value in said
        assert actual.value in said


@pytest.mark.parametrize("actual", [*REPLACING, Op.UPDATE, Op.SAME])
def test_each_half_of_a_planned_replacement_may_come(actual: Op) -> None:
    assert savedplan.departure(planned(*REPLACING), actual, None) is None


def test_what_is_not_in_the_plan_departs() -> None:
    assert (
        savedplan.departure(None, Op.CREATE, None)
        == "the plan does not have it, and it would now be 'create'"
    )
    gone = savedplan.PlannedResource(URN, (Op.DELETE,))
    assert "was planned" in str(savedplan.departure(gone, Op.SAME, planned().goal))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"inputs": {"size": 4, "token": Secret("hunter2"), "url": 1}}, "its input size is another one"),
        ({"inputs": {"size": 3, "token": Secret("x"), "url": 1}}, "its input token is another one"),
        ({"inputs": {"size": 3, "token": "hunter2", "url": 1}}, "its input token is no longer secret"),
        ({"inputs": {"size": 3, "url": 1}}, "its input token is missing"),
        ({"inputs": {"token": Secret("hunter2")}}, "its input size is missing"),
        (
            {"inputs": {"size": 3, "token": Secret("hunter2"), "more": 1}},
            "its input more is set, and was not planned to be",
        ),
        ({"protect": None}, "its option protect is missing"),
        ({"retain_on_delete": True}, "its option retain_on_delete is set, and was not planned to be"),
        ({"custom_timeouts": CustomTimeouts(create=6.0)}, "its option custom_timeouts.create is another one"),
        ({"aliases": ()}, "its option aliases is missing"),
        ({"replacement_trigger": Secret([2])}, "its option replacement_trigger[0] is another one"),
        ({"parent": ""}, "its parent is not the planned one"),
        ({"custom": False}, "its custom is not the planned one"),
        ({"provider": f"{PROVIDER}-mine::1"}, "its provider is not the planned one"),
        ({"dependencies": ()}, "its dependencies are not the planned ones"),
        (
            {"property_dependencies": {"size": ()}},
            "the dependencies of its input size are not the planned ones",
        ),
    ],
)  # fmt: skip
def test_what_departs_is_named_without_its_value(changed: dict[str, Any], why: str) -> None:
    said = savedplan.departure(planned(), Op.CREATE, planned(**changed).goal)
    assert said == why
    assert "hunter2" not in why


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (UNKNOWN, 3),
        (UNKNOWN, Secret({"a": 1})),
        (Secret(UNKNOWN), "open"),
        ([1, UNKNOWN], [1, {"a": 2}]),
        ({"a": UNKNOWN}, {}),
        (1, 1.0),
        ({"a": 1}, Secret({"a": 1})),
        ({"a": Secret(1)}, Secret({"a": 1})),
        (Asset(path="/one/f", hash="ab"), Asset(path="/two/f", hash="ab")),
        (Archive(path="/one", hash="ab"), Archive(path="/two", hash="ab")),
        (ResourceReference(URN, UNKNOWN), ResourceReference(URN, "i")),
    ],
)
def test_what_was_unknown_may_turn_out_as_it_likes(before: Any, after: Any) -> None:
    one, two = planned(inputs={"x": before}), planned(inputs={"x": after})
    assert savedplan.departure(one, Op.CREATE, two.goal) is None


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([1, 2], [1], "x has 1 items instead of 2"),
        (True, 1, "x is another one"),
        ({"a": {"b": [0, 1]}}, {"a": {"b": [0, 2]}}, "x.a.b[1] is another one"),
        (Asset(text="a", hash="ab"), Asset(text="b", hash="cd"), "x is another one"),
        (ResourceReference(URN, "i"), ResourceReference(URN, "j"), "x is another one"),
        (Secret({"a": 1}), {"a": 1}, "x is no longer secret"),
        (3, UNKNOWN, "x is another one"),
    ],
)
def test_what_was_known_may_not_change(before: Any, after: Any, why: str) -> None:
    one, two = planned(inputs={"x": before}), planned(inputs={"x": after})
    assert savedplan.departure(one, Op.CREATE, two.goal) == f"its input {why}"


def test_a_provider_that_was_to_be_made_may_get_any_id_but_a_known_one_stays() -> None:
    made = planned(provider=f"{PROVIDER}::7")
    assert savedplan.departure(planned(), Op.CREATE, made.goal) is None
    assert savedplan.departure(made, Op.CREATE, planned(provider=f"{PROVIDER}::8").goal) is not None


def test_what_never_came_up_is_named() -> None:
    assert savedplan.unseen(plan_of(planned()), [ROOT]) == (URN,)
    assert savedplan.unseen(plan_of(planned()), [URN, ROOT]) == ()


def test_a_departing_run_has_its_own_error() -> None:
    error = savedplan.departed(URN, "its input size is another one", stack="dev")
    assert (error.code, error.address) == ("plan-departed", URN)
    assert "exactly or not at all" in error.detail
