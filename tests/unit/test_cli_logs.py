"""`tickover logs` without a host: whose lines, when, how they look, and going on when the host is away."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tickover.commands.logfollow import AWAY_SECONDS, AccessResume, LogResume, Resume, followed
from tickover.commands.logs import Wanted, logs, query_of, whose
from tickover.commands.session import Session
from tickover.errors import ConfigError, TickoverError
from tickover.host import client
from tickover.views.loglines import LogLines, access_line
from tickover.views.terminal import Look

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
INSTANCES = [
    {"instance_id": "i-0123456789ab", "function": "chat-dev"},
    {"instance_id": "i-0123cccccccc", "function": "gone-dev"},
]
DECLARED = ["chat-dev", "chat-prod", "draw-dev"]


# --- what is asked for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        (Wanted(), {"tail": "100"}),
        (Wanted(follow=True, tail="all"), {"follow": "true"}),
        (Wanted(since="10m"), {"since": f"{NOW_S - 600}000000000"}),
        (Wanted(since="10m", tail="5"), {"since": f"{NOW_S - 600}000000000", "tail": "5"}),
        (
            Wanted(since="2026-01-02T03:00:00.000001Z", until="2026-01-02T11:04:05+08:00"),
            {"since": f"{NOW_S - 245}000001000", "until": f"{NOW_S}000000000"},
        ),
        (Wanted(qualifier="live", version="3", tail="0"), {"qualifier": "live", "version": "3", "tail": "0"}),
    ],
)
def test_flags_become_a_query(wanted: Wanted, query: dict[str, str]) -> None:
    assert query_of(wanted, NOW) == query


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(since="soon"), "--since is 'soon'"),
        (Wanted(until="soon"), "--until is 'soon'"),
        (Wanted(tail="-1"), "--tail is '-1'; it can be 100, or all"),
        (Wanted(since="1m", until="2m"), "--since 1m is not before --until 2m"),
    ],
)
def test_flags_that_say_nothing_are_refused(wanted: Wanted, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        query_of(wanted, NOW)
    assert words in refused.value.detail


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), {}),
        (Wanted("chat-dev"), {"functions": "chat-dev"}),
        (Wanted("gone-dev"), {"functions": "gone-dev"}),  # not declared any more
        (Wanted("chat"), {"functions": "chat-dev,chat-prod"}),
        (Wanted("chat", stack="dev"), {"functions": "chat-dev"}),
        (Wanted(stack="dev"), {"functions": "chat-dev,draw-dev,gone-dev"}),
        (Wanted("i-0123456789ab"), {"instance": "i-0123456789ab"}),
        (Wanted("i-01234"), {"instance": "i-0123456789ab"}),
        (Wanted("i-ffffffffffff"), {"instance": "i-ffffffffffff"}),  # its log may be there still
        (Wanted("chat-dev", instance="i-0123c"), {"functions": "chat-dev", "instance": "i-0123cccccccc"}),
    ],
)
def test_a_name_is_a_function_a_service_or_an_instance(wanted: Wanted, found: dict[str, str]) -> None:
    assert whose(wanted, INSTANCES, DECLARED) == found


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("chta-dev"), "Did you mean `chat-dev`?"),
        (Wanted("i-0123"), "is called 'i-0123'"),  # two are
        (Wanted(stack="qa"), "none of stack 'qa'"),
    ],
)
def test_a_name_that_nothing_has_is_refused(wanted: Wanted, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        whose(wanted, INSTANCES, DECLARED)
    assert words in refused.value.detail


# --- how it looks -------------------------------------------------------------------------------------------


def row(message: str, second: int = 1, place: int = 1, instance: str = "i-a", **more: Any) -> dict[str, Any]:
    found = {"time": f"2026-01-02T03:04:{second:02d}.123456Z", "function": "chat-dev", "instance": instance}
    return {**found, "message": message, "place": place, "stream": "output", **more}


def test_lines_are_plain_without_a_terminal_and_cannot_steer_one() -> None:
    lines = LogLines(Look(), with_names=True, with_times=True)
    assert lines.line(row("\x1b[31mred\x1b[0m\rx")) == "2026-01-02T03:04:01.123Z chat-dev/i-a | redx"
    assert lines.line(row("x", instance="i-long")) == "2026-01-02T03:04:01.123Z chat-dev/i-long | x"
    assert lines.line(row("x")) == "2026-01-02T03:04:01.123Z chat-dev/i-a    | x"
    assert LogLines(Look(), with_names=False, with_times=False).line(row("text")) == "text"


def test_an_instance_has_a_colour_of_its_own_on_a_terminal() -> None:
    lines = LogLines(Look(color=True), with_names=True, with_times=False)
    first = lines.line(row("x"))
    assert first.startswith("\x1b[3") and first == lines.line(row("x"))
    assert len({lines.line(row("x", instance=f"i-{n}"))[:5] for n in range(20)}) > 2
    assert "\x1b[31mlost\x1b[0m" in lines.line(row("lost", stream="host"))


ACCESS = {
    "time": "2026-01-02T03:04:05.123456Z",
    "function": "chat-dev",
    "instance": "i-a",
    "method": "POST",
    "path": "/v1/chat",
    "status": 200,
    "error_type": "",
    "bytes_out": 12,
    "waited_ms": 20.4,
    "woke": False,
    "total_ms": 31.25,
    "end": "complete",
    "reason": "",
}


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "chat-dev/i-a POST /v1/chat 200 31.2 ms, 12 B"),
        ({"woke": True}, "chat-dev/i-a POST /v1/chat 200 31.2 ms, 12 B, woke an instance (20 ms)"),
        (
            {"end": "broken", "reason": "the host stops"},
            "chat-dev/i-a POST /v1/chat 200 31.2 ms, 12 B, broken: the host stops",
        ),
        (
            {"status": 0, "end": "caller left", "function": "", "instance": ""},
            "host POST /v1/chat --- 31.2 ms, 12 B, caller left",
        ),
        (
            {"status": 404, "error_type": "DomainNameNotFound", "path": "/\x1b[2Jx"},
            "chat-dev/i-a POST /x 404 31.2 ms, 12 B, DomainNameNotFound",
        ),
        ({"dropped": 3}, "3 requests could not be logged"),
    ],
)
def test_a_request_is_one_line_that_says_how_it_ended(more: dict[str, Any], line: str) -> None:
    assert access_line({**ACCESS, **more}, Look()) == f"2026-01-02T03:04:05.123Z {line}"


class Admin:
    """What the command asks of a host."""

    rows: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, home: Path) -> None: ...

    def instances(self) -> list[dict[str, Any]]:
        return []

    def status(self) -> dict[str, Any]:
        return {"functions": []}

    def stream(self, name: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


@pytest.mark.parametrize(
    ("flags", "line"),
    [({}, b"chat-dev/i-a | gr\\xfc\\xdfe\n"), ({"as_json": True}, b'"message": "gr\\u00fc\\u00dfe"')],
)
def test_a_stream_that_cannot_show_a_character_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: dict[str, Any], line: bytes
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, "ascii"))
    monkeypatch.setattr(client, "AdminClient", Admin)
    monkeypatch.setattr(Admin, "rows", [row("grüße")])
    assert logs(Session(cwd=tmp_path), Wanted(**flags)) == 0
    assert line in out.getvalue()


def test_no_line_at_all_is_said_to_the_person_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    monkeypatch.setattr(client, "AdminClient", Admin)
    assert logs(Session(cwd=tmp_path), Wanted()) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "There are no such lines.\n")


# --- going on -----------------------------------------------------------------------------------------------


class Host:
    """Answers with these streams in turn: rows, and an error at the end of some."""

    def __init__(self, *streams: list[Any]) -> None:
        self.streams = list(streams)
        self.queries: list[Mapping[str, str]] = []
        self.at = 0.0

    def stream(self, name: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        self.queries.append(query)
        if not self.streams:
            raise KeyboardInterrupt
        for found in self.streams.pop(0):
            if isinstance(found, Exception):
                raise found
            yield found

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def heard(host: Host, resume: Resume, query: Mapping[str, str]) -> tuple[list[Any], list[str]]:
    told: list[Any] = []
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        for found in followed(
            host, "logs", query, resume, said.append, now=lambda: host.at, sleep=host.sleep
        ):
            told.append(found["message"])
    return told, said


def broke_off() -> TickoverError:
    return TickoverError("host-broke-off", "Host broke off", "x")


def test_lines_are_told_once_over_a_host_that_comes_back() -> None:
    host = Host(
        [row("one", 1, 4), row("two", 2, 8), row("other", 3, 3, "i-b"), broke_off()],
        [row("two", 2, 8), row("other", 3, 3, "i-b"), row("three", 3, 12)],
        [row("three", 3, 12), row("new", 4, 2, "i-c")],
    )
    told, said = heard(host, LogResume(), {"tail": "2", "follow": "true"})
    assert told == ["one", "two", "other", "three", "new"]
    assert host.queries[0] == {"tail": "2", "follow": "true"}
    assert "tail" not in host.queries[1] and host.queries[1]["follow"] == "true"
    assert host.queries[1]["since"] == str((NOW_S - 2 - 5) * 1_000_000_000 + 123_456_000)
    assert said == ["The host is away; waiting 30 s for it to come back.", "The host is back."]


def test_what_is_older_than_the_first_line_is_not_told_after_a_break() -> None:
    host = Host([row("last", 9, 4), broke_off()], [row("older", 8, 3, "i-b"), row("next", 9, 8)])
    assert heard(host, LogResume(), {"tail": "1"})[0] == ["last", "next"]


def test_a_stream_that_told_nothing_is_asked_for_again_as_it_was() -> None:
    host = Host([], [row("one")])
    assert heard(host, LogResume(), {"tail": "1"}) == (["one"], [])
    assert host.queries[1] == {"tail": "1"}


def test_requests_go_on_behind_the_last_one() -> None:
    host = Host([row("one", place="7:10")], [row("two", place="7:20")])  # type: ignore[arg-type]
    assert heard(host, AccessResume(), {"tail": "1", "functions": "f"})[0] == ["one", "two"]
    assert [q.get("after") for q in host.queries] == [None, "7:10", "7:20"]
    assert "tail" not in host.queries[1]


@pytest.mark.parametrize(
    "refusal", [broke_off, lambda: TickoverError("x", "x", "x", retry_after_seconds=1.0)]
)
def test_a_host_that_stays_away_is_an_error_in_the_end(refusal: Callable[[], TickoverError]) -> None:
    host = Host([row("one"), refusal()], *[[broke_off()] for _ in range(999)])
    with pytest.raises(TickoverError, match="Host broke off"):
        list(followed(host, "logs", {}, LogResume(), lambda _: None, now=lambda: host.at, sleep=host.sleep))
    assert AWAY_SECONDS < host.at < AWAY_SECONDS + 2


def test_a_host_that_was_never_there_is_an_error_at_once() -> None:
    error = TickoverError("host-not-running", "Host is not running", "x")
    with pytest.raises(TickoverError, match="Host is not running"):
        list(followed(Host([error]), "logs", {}, LogResume(), lambda _: None))


def test_a_refusal_ends_it() -> None:
    refusal = TickoverError("host-refused", "Host refused the call", "x")
    with pytest.raises(TickoverError, match="refused"):
        list(followed(Host([row("one")], [refusal]), "logs", {}, LogResume(), print, sleep=lambda _: None))


def test_it_ends_at_until() -> None:
    host = Host([row("one")], [row("two", place=2)])
    until = {"until": "250000000"}
    found = list(followed(host, "logs", until, LogResume(), print, now=lambda: host.at, sleep=host.sleep))
    assert [r["message"] for r in found] == ["one", "two"]
