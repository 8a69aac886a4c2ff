"""The judge of the two engines sees what differs and overlooks what may."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.support import matrix_case
from tests.support.matrix_result import StepResult, counts_of_ours, counts_of_real, difference, normalised
from tests.support.matrix_roundtrip import differences

URN = "urn:pulumi:dev::p::a:b:C::"
IDS = ("11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '{"a":1}'}


def resource(name, **more):
    return {"urn": URN + name, "type": "a:b:C", "custom": True} | more


def result(*resources, folder="/one", **more):
    found, pending = normalised({"resources": list(resources)}, Path(folder))
    return StepResult("1 up", False, found, pending, {"create": 1}, "", **more)


def test_times_order_ids_folders_and_empty_fields_may_differ():
    one = result(
        resource("a", id=IDS[0], created="1", protect=False, dependencies=["x", "y"]),
        resource("b", inputs={"f": "/one/file", "of": IDS[0]}, propertyDependencies={"f": []}),
    )
    other = result(
        resource("b", inputs={"f": "/two/file", "of": IDS[1]}, outputs={}),
        resource("a", id=IDS[1], created="2", dependencies=["y", "x"]),
        folder="/two",
    )
    assert difference(one, other, {}) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "other"},
        {"inputs": {"v": 2}},
        {"inputs": {"v": None}},
        {"protect": True},
        {"propertyDependencies": {"v": [URN + "z"]}},
        {"outputs": {"s": SECRET}},
    ],
)
def test_everything_else_is_told_by_name(changed):
    lines = difference(
        result(resource("a", inputs={"v": 1}) | changed), result(resource("a", inputs={"v": 1})), {}
    )
    assert any(URN + "a" in line for line in lines)


def test_counts_texts_and_missing_resources_are_told_unless_known():
    ours, real = result(resource("a"), missing=("sorry",)), result(resource("b"))
    lines = "\n".join(difference(ours, real, {}))
    assert "only ours has" in lines
    assert "only real has" in lines
    assert "not said" in lines
    assert difference(ours, real, {"resources": "why", "not said": "why"}) == []


def test_secrets_are_compared_by_what_they_hide():
    spaced = {**SECRET, "plaintext": '{ "a": 1 }'}
    assert (
        difference(
            result(resource("a", outputs={"s": SECRET})), result(resource("a", outputs={"s": spaced})), {}
        )
        == []
    )


def test_the_code_of_a_dynamic_provider_may_lie_in_another_folder_and_nothing_else():
    def made(folder, code):
        pickled = base64.b64encode(f"{folder}/__main__.py {code}".encode()).decode()
        return result(resource("a", inputs={"__provider": pickled}), folder=folder)

    assert difference(made("/one", "x"), made("/two", "x"), {}) == []
    assert difference(made("/one", "x"), made("/two", "y"), {}) != []


def test_counts_of_both_streams(tmp_path):
    real, ours = tmp_path / "real", tmp_path / "ours"
    real.write_text('{"summaryEvent": {"resourceChanges": {"same": 1, "create": 0}}}\n{"cancelEvent": {}}\n')
    ours.write_text('{"type": "version"}\n{"type": "change_summary", "counts": {"same": 1, "update": 0}}\n')
    assert counts_of_real(real) == counts_of_ours(ours) == {"same": 1}
    assert counts_of_real(tmp_path / "none") is None


def test_a_round_trip_may_lose_zeros_of_a_time_and_nothing_more():
    assert differences("r", {"t": "2026-01-01T00:00:00.100Z", "e": []}, {"t": "2026-01-01T00:00:00.1Z"}) == []
    assert differences("r", {"t": "2026-01-01T00:00:00Z"}, {"t": "2026-01-01T00:00:01Z"}) != []
    assert differences("r", [1, 2], [1]) == [("r", "[1, 2]", "[1]")]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ({"steps": [{"op": "fly"}]}, "op is 'fly'"),
        ({"steps": [], "stpes": []}, "stpes"),
        ({"steps": [{"op": "up", "program": "nowhere"}]}, "no folder nowhere"),
        ({"steps": [{"op": "up", "differs": {"colour": "?"}}]}, "differs may name"),
    ],
)
def test_a_case_that_the_format_does_not_know_is_an_error(text, wrong, tmp_path, monkeypatch):
    (tmp_path / "c").mkdir()
    (tmp_path / "c/case.json").write_text(json.dumps(text))
    monkeypatch.setattr(matrix_case, "PROGRAMS", tmp_path)
    with pytest.raises(ValueError, match=wrong):
        matrix_case.load("c")


def test_every_case_can_be_read():
    assert matrix_case.names()
    for name in matrix_case.names():
        assert matrix_case.load(name).steps
