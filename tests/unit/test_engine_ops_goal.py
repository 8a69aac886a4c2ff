"""What a registration asks for, what is left of an interrupted run, and what is said of failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pulumi.runtime.proto import alias_pb2, resource_pb2

from tickover.engine import leftovers
from tickover.engine.failures import Failures, explained, without_secrets
from tickover.engine.goal import Alias, Goal, alias_urns, in_project, package_of
from tickover.engine.provider import Unimplemented
from tickover.engine.registration import draft_of, goal_of
from tickover.engine.state import Deployment, PendingOperation, PendingType, ResourceState
from tickover.engine.values import Secret
from tickover.errors import ConfigError, Exit, TickoverError

PARENT_URN = "urn:pulumi:dev::demo::test:index:Group::g"
PARENT = Goal(
    PARENT_URN, "test:index:Group", "g", False, protect=True, retain_on_delete=True, deleted_with="w",
)  # fmt: skip


OTHER = "urn:pulumi:dev::demo::pulumi:providers:test::q::2"


def request(**fields):
    base = {"type": "test:index:Thing", "name": "a", "custom": True}
    return resource_pb2.RegisterResourceRequest(**{**base, **fields})


def goal(parent=None, /, **fields):
    asked = request(**fields)
    draft = draft_of(asked, parent, {PARENT_URN: {"test": "p::1"}})
    return goal_of(draft, asked, "dev", "demo", None)


def test_options_come_from_the_parent_unless_said_otherwise():
    child = goal(PARENT, parent=PARENT_URN)
    assert (child.protect, child.retain_on_delete, child.deleted_with) == (True, True, "w")
    assert child.provider == "p::1"
    own = goal(PARENT, parent=PARENT_URN, protect=False, retainOnDelete=False, provider=OTHER)
    assert (own.protect, own.retain_on_delete, own.provider) == (False, False, OTHER)
    assert goal(PARENT, parent=PARENT_URN, custom=False).provider == ""


def test_dependencies_without_properties_are_of_every_property():
    found = goal(dependencies=["y", "x", "y"], object={"k": 1, "l": 2})
    assert found.dependencies == ("x", "y")
    assert found.property_dependencies == {"k": ("x", "y"), "l": ("x", "y")}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, None),
        ({"deleteBeforeReplace": True}, True),
        ({"deleteBeforeReplace": False, "deleteBeforeReplaceDefined": True}, False),
    ],
)
def test_when_to_delete_may_be_left_to_the_provider(fields, wanted):
    assert goal(**fields).delete_before_replace is wanted


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90s", 90.0), ("1h5m", 3900.0), ("1.5m", 90.0), ("250ms", 0.25), ("", 0.0)],
)
def test_timeouts(given, seconds):
    found = goal(customTimeouts={"create": given, "update": "1s"})
    assert found.custom_timeouts.create == pytest.approx(seconds)


def aliases_of(goal, former=None):
    return alias_urns(goal, "dev", "demo", former or {})


def test_aliases_become_urns():
    spec = alias_pb2.Alias.Spec
    found = goal(
        PARENT,
        parent=PARENT_URN,
        aliasURNs=["urn:pulumi:dev::demo::t:i:T::x"],
        aliases=[
            alias_pb2.Alias(spec=spec(name="b")),
            alias_pb2.Alias(spec=spec(noParent=True)),
            alias_pb2.Alias(spec=spec(type="test:index:Old", parentUrn=PARENT_URN)),
        ],
    )
    assert aliases_of(found) == (
        "urn:pulumi:dev::demo::t:i:T::x",
        "urn:pulumi:dev::demo::test:index:Group$test:index:Thing::b",
        "urn:pulumi:dev::demo::test:index:Thing::a",
        "urn:pulumi:dev::demo::test:index:Group$test:index:Old::a",
    )


def test_children_move_with_a_renamed_parent():
    former = {PARENT_URN: "urn:pulumi:dev::demo::test:index:Group::old"}
    child = replace(goal(PARENT, parent=PARENT_URN), name="g-child", aliases=(Alias(name="g-kid"),))
    before = "urn:pulumi:dev::demo::test:index:Group$test:index:Thing::"
    assert aliases_of(child, former) == (f"{before}g-kid", f"{before}old-child", f"{before}old-kid")


def test_a_bad_timeout_is_named():
    with pytest.raises(ConfigError, match="5 minutes"):
        goal(customTimeouts={"create": "5 minutes"})


@pytest.mark.parametrize("fields", [{"type": "nothing"}, {"envVarMappings": {"A": "B"}}])
def test_what_makes_no_sense_is_refused(fields):
    with pytest.raises(ConfigError):
        goal(**fields)


def test_positions_do_not_depend_on_where_the_project_lies():
    root = Path("/home/someone/a project")
    assert in_project(f"{root.as_uri()}/src/x.py#3,1", root) == "project:///src/x.py#3,1"
    assert in_project("file:///elsewhere/x.py#3", root) == "file:///elsewhere/x.py#3"


@pytest.mark.parametrize(
    ("type_", "package"), [("tickover:fc:Function", "tickover"), ("pulumi:providers:x", "x")]
)
def test_packages(type_, package):
    assert package_of(type_) == package


# -- leftovers ----------

EARLY, LATE = "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01.123456789Z"
THING = ResourceState("urn:pulumi:dev::demo::t:i:T::a", "t:i:T", True, id="1", created=EARLY)
CUT = PendingOperation(replace(THING, id="", created=LATE), PendingType.CREATING)


@pytest.mark.parametrize(
    ("resources", "stays"),
    [
        ((), True),
        ((THING,), True),  # the older one, which the creation was to replace
        ((replace(THING, created=LATE),), False),
        ((replace(THING, created=LATE, pending_replacement=True),), True),
        ((replace(THING, created=LATE, delete=True),), True),
        ((replace(THING, created=""),), True),
    ],
)
def test_a_creation_is_settled_only_by_a_later_one_of_its_name(resources, stays):
    found = leftovers.pruned(Deployment(resources, (CUT, CUT)))
    assert found.pending_operations == ((CUT,) if stays else ())


def test_a_warning_says_how_a_creation_can_be_settled():
    ((urn, message),) = leftovers.warnings(Deployment((), (CUT,)), "dev")
    assert urn == THING.urn and "tickover stack import -s dev" in message


# -- failures ----------


def failures(*errors):
    said = []
    found = Failures(lambda severity, urn, message: said.append(message))
    for urn, error in errors:
        found.add(urn, error)
    return found, said


def test_an_error_is_said_once_however_often_it_comes_back():
    error = TickoverError("x", "Bad")
    found, said = failures(("a", error), ("b", error), ("a", TickoverError("y", "Echo")))
    assert said == ["Bad"] and list(found.errors) == ["a"]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([("", TickoverError("x", "Bad"))], Exit.ERROR),
        ([("a", TickoverError("x", "Bad"))], Exit.RESOURCE),
        ([("a", ConfigError("x", "Bad")), ("b", ConfigError("y", "Bad"))], Exit.CONFIGURATION),
        ([("a", ConfigError("x", "Bad")), ("b", TickoverError("y", "Bad"))], Exit.RESOURCE),
        ([("a", TickoverError("x", "Bad", exit_code=Exit.AUTHENTICATION))], Exit.AUTHENTICATION),
        ([("a", explained("a", KeyError("k"))), ("b", ConfigError("y", "Bad"))], Exit.INTERNAL),
        ([("a", explained("a", Unimplemented("read")))], Exit.RESOURCE),
    ],
)
def test_exit_codes(errors, code):
    assert failures(*errors)[0].exit_code is code


def test_secrets_are_blotted_out_and_nothing_else():
    properties = {"a": Secret({"b": ["hidden word", 12345]}), "c": "shown", "d": Secret("on")}
    text = without_secrets("hidden word, 12345, shown, on", properties)
    assert text == "[secret], [secret], shown, on"


def test_a_blotted_error_keeps_its_class_of_answer():
    error = ConfigError("bad", "Bad", "it is hidden word", "k", "try again")
    found = explained("u", error, {"a": Secret("hidden word")})
    assert (found.detail, found.code, found.exit_code, found.hint) == (
        "it is [secret]", "bad", Exit.CONFIGURATION, "try again",
    )  # fmt: skip
