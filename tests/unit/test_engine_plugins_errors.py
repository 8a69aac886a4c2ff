"""What a provider's failure looks like to a person."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.engine.plugins.errors import Call, OutcomeUnknown, failure, hide, plain_message, secret_texts
from tickover.engine.plugins.marks import all_secret, has_unknown, remark, without_unknowns
from tickover.engine.values import UNKNOWN, Secret, contains_secret, reveal
from tickover.errors import TickoverError

FRAMES = '  File "a.py", line 3, in create\n    raise Thing()\n    ^^^^^^^\n'
HEADER = "Traceback (most recent call last):\n"


class Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self._code, self._details = code, details

    def code(self):
        return self._code

    def details(self):
        return self._details

    def trailing_metadata(self):
        return (("grpc-status-details-bin", b"\xff not a status"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bucket name is taken", "bucket name is taken"),
        (f"{HEADER}{FRAMES}Exception: no more room", "no more room"),
        (f"{HEADER}{FRAMES}a.b.Full: no more room\n  ask again\n", "a.b.Full: no more room\n  ask again"),
        (
            f"{HEADER}{FRAMES}KeyError: 'x'\n\nDuring handling\n\n{HEADER}{FRAMES}ValueError: y",
            "ValueError: y",
        ),
        (f"no more room:\n{FRAMES}    raise RuntimeError('no more room')", "no more room"),
        (f"the hook failed: {HEADER}{FRAMES}Exception: no more room", "the hook failed:\nno more room"),
        ("Exception calling application: no more room", "no more room"),
        (f"{HEADER}{FRAMES}", f"{HEADER}{FRAMES}".strip()),
        ("", ""),
    ],
)
def test_the_sentence_without_the_frames(text: str, message: str) -> None:
    assert plain_message(text) == message


@pytest.mark.parametrize("verb", ["Create", "Update", "Delete", "Check", "Diff", "Read", "Invoke"])
@pytest.mark.parametrize("code", list(grpc.StatusCode)[1:])
def test_which_failures_leave_the_outcome_open(verb: str, code: grpc.StatusCode) -> None:
    error = failure(Call("judge", verb, "urn:x"), Failed(code, "said"))
    undecided = {"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"}
    is_open = verb in ("Create", "Update", "Delete") and code.name in undecided
    assert isinstance(error, OutcomeUnknown) is is_open
    assert error.summary == f"{verb} failed"
    assert error.detail.startswith("said")
    assert ("pending" in error.detail) is is_open


def test_a_provider_without_words_is_told_by_its_code() -> None:
    error = failure(Call("judge", "Check", "urn:x"), Failed(grpc.StatusCode.INTERNAL))
    assert error.detail == "The provider answered INTERNAL."


def test_no_secret_of_the_call_is_repeated() -> None:
    sent = {"a": Secret({"b": ["hunter2", "hunter2-long", "ab"]}), "c": "open"}
    texts = secret_texts([sent])
    assert texts == ("hunter2-long", "hunter2")  # two letters occur in every text
    assert hide("bad hunter2-long and hunter2 in open ab", texts) == "bad [secret] and [secret] in open ab"
    died = failure(
        Call("judge", "Create", "urn:x", texts), Failed(grpc.StatusCode.UNAVAILABLE), "it said hunter2"
    )
    assert isinstance(died, TickoverError)
    assert "hunter2" not in str(died)


def test_secrecy_comes_back_under_the_same_names() -> None:
    sent = {"a": Secret("x"), "deep": {"in": Secret(1), "out": 2}, "list": [Secret("x"), 1], "open": "o"}
    back = {"a": "x", "deep": {"in": 1, "out": 2, "new": 3}, "list": ["x", 1], "open": "o", "made": "m"}
    assert remark(back, sent) == {
        "a": Secret("x"),
        "deep": {"in": Secret(1), "out": 2, "new": 3},
        "list": Secret(["x", 1]),
        "open": "o",
        "made": "m",
    }
    assert remark({"a": Secret("x"), "deep": "now text"}, sent) == {
        "a": Secret("x"),
        "deep": Secret("now text"),
    }
    assert all_secret({"a": 1, "b": Secret(2)}) == {"a": Secret(1), "b": Secret(2)}


def test_what_is_left_without_the_unknown_parts() -> None:
    value = {"a": UNKNOWN, "b": [1, UNKNOWN], "c": {"d": UNKNOWN, "e": 2}, "f": Secret({"g": UNKNOWN})}
    assert has_unknown(value)
    assert without_unknowns(value) == {"b": [1, None], "c": {"e": 2}, "f": Secret({})}
    assert not has_unknown(without_unknowns(value))


TREES = st.recursive(
    st.one_of(st.text(max_size=4), st.integers(), st.builds(Secret, st.text(max_size=4))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    ),
    max_leaves=12,
)
MAPS = st.dictionaries(st.sampled_from("abcd"), TREES, max_size=4)


@given(MAPS)
def test_an_echo_without_secrets_is_at_least_as_secret_as_what_was_sent(sent: dict[str, Any]) -> None:
    back = remark({key: reveal(value) for key, value in sent.items()}, sent)
    assert {key: reveal(value) for key, value in back.items()} == {k: reveal(v) for k, v in sent.items()}
    for key, value in sent.items():
        assert contains_secret(back[key]) == contains_secret(value)
