"""What differs between two property maps, and how the diff view says it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given

from tests.support import cli_plans as plans
from tests.support import engine_values
from tests.support.cli_golden import check_golden
from tickover.engine.plan import Op, Plan
from tickover.engine.provider import DiffKind, PropertyDiff
from tickover.engine.state import ResourceState
from tickover.engine.values import UNKNOWN, Archive, Asset, ResourceReference, Secret
from tickover.views import details
from tickover.views.differences import changes, masked_alike
from tickover.views.terminal import Look
from tickover.views.values import conceal, masked, shortened, shown
from tickover.views.words import position_text

KIND = "app:index:Thing"


def said(before: Any, after: Any) -> list[tuple[str, ...]]:
    """Each change as (sign, path, before, after, note) without what is empty at the end."""
    found = []
    for c in changes({"x": before}, {"x": after}):
        parts = [c.sign, c.path, c.before, c.after, c.note]
        while parts and not parts[-1]:
            parts.pop()
        found.append(tuple(parts))
    return found


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1, 1, []),
        (1, 1.0, []),
        (True, 1, [("~", "x", "true", "1")]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, [("~", "x.b", "2", "3")]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("~", "x.a.b.c", "1", "2")]),
        ([1, 2, 3], [0, 1, 2, 3], [("+", "x[0]", "", "0")]),
        ([1, 2, 3], [1, 3], [("-", "x[1]", "2")]),
        ([{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 5}], [("~", "x[1].n", "2", "5")]),
        (UNKNOWN, UNKNOWN, []),
        (1, UNKNOWN, [("~", "x", "1", "[unknown]")]),
        (1, "1", [("~", "x", "1", '"1"')]),
        (Secret(1), Secret(1), []),
        (Secret("a"), Secret("b"), [("~", "x", "[secret]", "[secret]", "the secret changed")]),
        (Secret("a"), Secret(UNKNOWN), [("~", "x", "[secret]", "[secret]", "the secret may change")]),
        (Secret("a"), "a", [("~", "x", "", "", "no longer secret")]),
        ("a", Secret("a"), [("~", "x", "", "", "now secret")]),
        ('{"a": 1, "b": [1]}', '{"b": [1, 2], "a": 1}', [("+", "x(json).b[1]", "", "2")]),
        ('{"a": 1}', '{ "a": 1 }', [("~", "x", "", "", "only its white space or order changed")]),
        (Asset(path="a", hash="1" * 64), Asset(path="a", hash="2" * 64),
         [("~", "x", "asset(file a, 111111111111)", "asset(file a, 222222222222)")]),
        (Archive(assets={"a": Asset(path="f", hash="1"), "b": Asset(path="g")}),
         Archive(assets={"a": Asset(path="f", hash="2"), "b": Asset(path="g")}),
         [("~", "x.a", "asset(file f, 1)", "asset(file f, 2)")]),
        (ResourceReference("urn:a", "1"), ResourceReference("urn:a", "2"),
         [("~", "x", "urn:a (1)", "urn:a (2)")]),
        ("a\n", "a", [("~", "x", '"a\\n"', '"a"')]),
    ],
)  # fmt: skip
def test_only_what_changed_is_told(before: Any, after: Any, expected: list[tuple[str, ...]]) -> None:
    assert said(before, after) == expected


def test_a_text_of_several_lines_is_told_by_lines() -> None:
    before = "\n".join(["one", "two", "three", "four", "five", "six", "seven", "eight"])
    after = before.replace("two", "2").replace("eight", "8")
    (change,) = changes({"x": before}, {"x": after})
    assert change.lines == (
        (" ", "one"), ("-", "two"), ("+", "2"), (" ", "three"), ("@", ""),
        (" ", "seven"), ("-", "eight"), ("+", "8"),
    )  # fmt: skip


def test_a_text_asset_is_told_by_lines() -> None:
    (change,) = changes({"x": Asset(text="a\nb\n")}, {"x": Asset(text="a\nc\n")})
    assert change.lines == ((" ", "a"), ("-", "b"), ("+", "c"))


def test_a_huge_text_is_not_compared_line_by_line() -> None:
    (change,) = changes({"x": "a\n" * 5000}, {"x": "b\n" * 4000})
    assert (change.before, change.after) == ("5000 lines", "4000 lines")


def test_two_long_texts_that_look_alike_say_where_they_differ() -> None:
    long = "a" * 300
    (change,) = changes({"x": long + "b" + long}, {"x": long + "c" + long})
    assert change.note == "differs from character 301"
    assert len(change.before) < 260


def test_an_added_object_is_told_by_its_parts_when_it_is_long() -> None:
    assert [c.path for c in changes({}, {"x": {"a": 1}})] == ["x"]
    many = {"x": {"a": ["b" * 40, {"c": Secret("d" * 40)}]}}
    assert [(c.sign, c.path) for c in changes({}, many)] == [("+", "x.a[0]"), ("+", "x.a[1]")]
    assert [(c.sign, c.path) for c in changes(many, {})] == [("-", "x.a[0]"), ("-", "x.a[1]")]


@given(engine_values.values)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert changes({"x": value}, {"x": value}) == ()


def _with_word(value: Any, word: str) -> Any:
    """value with the word in every secret and nowhere else."""
    match value:
        case Secret():
            return Secret({"inside": [word, value.value]})
        case list():
            return [_with_word(v, word) for v in value]
        case dict():
            return {k: _with_word(v, word) for k, v in value.items()}
        case _:
            return value


@given(engine_values.values, engine_values.values)
def test_no_difference_tells_a_secret(before: Any, after: Any) -> None:
    old, new = {"x": _with_word(before, "s3cr3t")}, {"x": _with_word(after, "s3cr3t")}
    assert "s3cr3t" not in str(changes(old, new))
    assert "s3cr3t" not in str([masked(v) for v in masked_alike(old, new)])


def test_secrets_are_shown_where_that_is_asked_for() -> None:
    (change,) = changes({"x": Secret("a")}, {"x": Secret("b")}, show_secrets=True)
    assert (change.before, change.after) == ('"a"', '"b"')


def test_what_becomes_secret_is_masked_on_both_sides() -> None:
    before, after = masked_alike({"a": ["k"], "b": 1}, {"a": [Secret("k")], "c": 2})
    assert (masked(before), masked(after)) == ({"a": ["[secret]"], "b": 1}, {"a": ["[secret]"], "c": 2})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", {"a": "[hidden]", "d": [{"e": 1}, {"e": 2}]}),
        ("a.b", {"a": {"b": "[hidden]", "c": 2}, "d": [{"e": 1}, {"e": 2}]}),
        ("d[0].e", {"a": {"b": 1, "c": 2}, "d": [{"e": "[hidden]"}, {"e": 2}]}),
        ("d[*].e", {"a": {"b": 1, "c": 2}, "d": [{"e": "[hidden]"}, {"e": "[hidden]"}]}),
        ("nothing.here", {"a": {"b": 1, "c": 2}, "d": [{"e": 1}, {"e": 2}]}),
    ],
)
def test_hide_diff_paths_conceal_values(path: str, expected: Any) -> None:
    assert masked(conceal({"a": {"b": 1, "c": 2}, "d": [{"e": 1}, {"e": 2}]}, [path])) == expected


def test_long_values_lose_their_middle() -> None:
    assert shortened("a" * 240) == "a" * 240
    assert shown("b" * 1000).endswith("(1002 characters)")


@pytest.mark.parametrize(
    ("position", "text"),
    [
        ("project:///app/__main__.py#12,4", "app/__main__.py:12"),
        ("file:///srv/a%20b/x.py#7", "/srv/a b/x.py:7"),
        ("__main__.py#3", "__main__.py:3"),
        ("project:///x.py", "x.py"),
        ("file:///v/lib/python3.11/site-packages/pulumi/runtime/stack.py#235", ""),
        ("", ""),
    ],
)
def test_source_positions(position: str, text: str) -> None:
    assert position_text(position) == text


# --- the diff view -----------------------------------------------------------------------------------------


def rich_states() -> tuple[ResourceState, ResourceState]:
    """A resource before and after, with every kind of value."""
    old = plans.state(
        KIND,
        "store",
        {
            "policy": '{"Statement": [{"Effect": "Allow"}]}',
            "script": "#!/bin/sh\nset -e\necho one\n",
            "tags": {"a": "1", "gone": "x", "same": "s"},
            "list": ["a", "b", "c"],
            "token": Secret("before"),
            "quiet": "not to be read",
            "code": Asset(path="app.py", hash="11" * 32),
            "address": "https://an.address.that.is/rather/long/and/so/it/goes/on",
        },
        id="store-1",
        extra={"hideDiff": ["quiet"]},
        outputs={"fingerprint": "f1"},
    )
    new = dataclasses.replace(
        old,
        inputs={
            "policy": '{"Statement": [{"Effect": "Deny"}]}',
            "script": "#!/bin/sh\nset -e\necho two\n",
            "tags": {"a": "2", "same": "s", "more": UNKNOWN},
            "list": ["z", "a", "b", "c"],
            "token": Secret("after"),
            "quiet": "nor this",
            "code": Asset(path="app.py", hash="22" * 32),
            "address": "https://an.address.that.is/rather/long/and/so/it/goes/off",
        },
    )
    return old, new


def rich_plan() -> Plan:
    """Everything that the diff view knows to say."""
    old, new = rich_states()
    changed = plans.step(
        Op.REPLACE,
        KIND,
        "store",
        old=old,
        new=new,
        diff_keys=("tags",),
        replace_keys=("tags",),
        detailed={
            "tags.a": PropertyDiff(DiffKind.UPDATE_REPLACE),
            "tags.more": PropertyDiff(DiffKind.ADD),
            "fingerprint": PropertyDiff(DiffKind.UPDATE, input_diff=False),
        },
        reasons=("replace: tags", "replaced with what it depends on"),
        source_position="project:///__main__.py#41,9",
    )
    drifted = plans.step(
        Op.UPDATE,
        KIND,
        "other",
        old=dataclasses.replace(old, outputs={"size": 1}),
        new=dataclasses.replace(old, outputs={"size": 2}),
        diff_keys=("size",),
        reasons=("drifted: size",),
    )
    return Plan(
        "app",
        "dev",
        (changed, drifted),
        outputs={"key": Secret("k2"), "url": "b"},
        old_outputs={"key": Secret("k1"), "url": "a"},
    )


def test_the_diff_view() -> None:
    text = "\n".join(details.render(rich_plan(), Look())) + "\n"
    check_golden("view_plan_rich_details.txt", text)
    assert "not to be read" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_diff_view_with_secrets() -> None:
    text = "\n".join(details.render(rich_plan(), Look(), show_secrets=True))
    assert '~ token: "before" → "after"' in text
    assert '~ key: "k1" → "k2"' in text
    assert "not to be read" not in text


def test_only_the_causing_property_forces() -> None:
    lines = details.render(rich_plan(), Look())
    assert [x.split(":")[0].strip() for x in lines if "forces replacement" in x] == ["~ tags.a"]


def test_a_changed_dynamic_provider_is_told_by_name() -> None:
    changed = plans.step(
        Op.UPDATE,
        KIND,
        "d",
        old=plans.state(KIND, "d", {"__provider": Secret("old pickle")}),
        new=plans.state(KIND, "d", {"__provider": Secret("new pickle")}),
        diff_keys=("__provider",),
    )
    text = "\n".join(details.step_lines(changed, Look()))
    assert "~ __provider  # the code of its dynamic provider changed" in text
    assert "pickle" not in text


def test_a_computed_secret_stays_masked_where_only_the_provider_tells_of_it() -> None:
    old = plans.state(KIND, "d", {}, outputs={"a": {"b": Secret("s3cr3t")}})
    new = plans.state(KIND, "d", {})
    changed = plans.step(
        Op.UPDATE, KIND, "d", old=old, new=new, detailed={"a.b": PropertyDiff(DiffKind.UPDATE)}
    )
    assert "    ~ a.b: [secret]  # as the provider says" in details.step_lines(changed, Look())


def test_values_cannot_steer_the_terminal() -> None:
    created = plans.step(
        Op.CREATE, KIND, "d\x1b[2J", new=plans.state(KIND, "d", {"a\x1b[1m": "\x9b2J\x1b[2Jx\ny\x1b[2J"})
    )
    assert all(c not in "".join(details.step_lines(created, Look())) for c in "\x1b\x9b")
