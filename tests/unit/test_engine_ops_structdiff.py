"""Comparison of values, and property paths."""

from __future__ import annotations

import pytest

from tickover.engine.provider import DiffKind
from tickover.engine.structdiff import (
    compare,
    compatible,
    covers,
    parse_path,
    same,
    with_ignored,
    with_unknown,
)
from tickover.engine.values import UNKNOWN, Asset, Secret


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        ("1", 1, False),
        (Secret("x"), "x", True),
        ({"a": [Secret(1)]}, {"a": [1]}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ([1, 2], [2, 1], False),
        (UNKNOWN, UNKNOWN, False),
        (Asset(text="a", hash="1"), Asset(text="a", hash="1"), True),
        (Asset(path="a", hash="1"), Asset(path="a", hash="2"), False),
    ],
)
def test_same(old, new, is_same):
    assert same(old, new) is is_same


@pytest.mark.parametrize(
    ("planned", "actual", "fits"),
    [
        ({"a": UNKNOWN}, {"a": 1}, True),
        ({"a": UNKNOWN}, {}, True),
        ({"a": Secret(UNKNOWN)}, {"a": Secret("x")}, True),
        ({"a": {"b": UNKNOWN, "c": 1}}, {"a": {"b": [1], "c": 1}}, True),
        ({"a": {"b": UNKNOWN, "c": 1}}, {"a": {"b": [1], "c": 2}}, False),
        ({"a": 1}, {}, False),
        ({}, {"a": 1}, False),
        ([UNKNOWN], [1, 2], False),
    ],
)
def test_compatible(planned, actual, fits):
    assert compatible(planned, actual) is fits


def test_compare_names_each_key_once():
    found = compare({"a": 1, "b": 1, "c": 1}, {"b": 2, "c": 1, "d": 1})
    kinds = {key: change.kind for key, change in found.detailed.items()}
    assert kinds == {"a": DiffKind.DELETE, "b": DiffKind.UPDATE, "d": DiffKind.ADD} and found.changes is True
    assert compare({"a": Secret(1)}, {"a": 1}).changes is False


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("a.b[0]", ("a", "b", 0)),
        ('a["b.c"].d', ("a", "b.c", "d")),
        ("a[*].b", ("a", "*", "b")),
        ("", ()),
    ],
)
def test_paths(text, parts):
    assert parse_path(text) == parts


@pytest.mark.parametrize(
    ("pattern", "path", "is_covered"),
    [("a", "a.b", True), ("a.b", "a", True), ("a.*.c", "a[3].c", True), ("a.b", "a.c", False)],
)
def test_covers(pattern, path, is_covered):
    assert covers(pattern, path) is is_covered


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("a",), {"a": 1, "b": {"x": 2, "y": [4]}}),
        (("b.x",), {"a": 2, "b": {"x": 1, "y": [4]}}),
        (("b.y[0]",), {"a": 2, "b": {"x": 2, "y": [3]}}),
        (("b.*",), {"a": 2, "b": {"x": 1, "y": [3]}}),
        (("*",), {"a": 1, "b": {"x": 1, "y": [3]}}),
        (("a.*", "none", "b.none.deep"), {"a": 2, "b": {"x": 2, "y": [4]}}),
    ],
)
def test_ignored_paths_are_put_back(paths, expected):
    old, new = {"a": 1, "b": {"x": 1, "y": [3]}}, {"a": 2, "b": {"x": 2, "y": [4]}}
    assert with_ignored(new, old, paths) == expected
    assert new == {"a": 2, "b": {"x": 2, "y": [4]}}


def test_an_ignored_addition_is_taken_out_and_a_secret_is_entered():
    assert with_ignored({"a": 1}, {}, ["a"]) == {}
    assert with_ignored({"s": Secret({"k": 2})}, {"s": Secret({"k": 1})}, ["s.k"]) == {"s": Secret({"k": 1})}


def test_with_unknown_touches_only_what_is_there():
    assert with_unknown({"a": 1, "b": 2}, ["a", "c"]) == {"a": UNKNOWN, "b": 2}
