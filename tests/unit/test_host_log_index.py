"""When a log's lines were written: looks, cuts, and what a killed host leaves."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tickover.host import log_index
from tickover.host.log_index import LogIndex, Whose, cut, look, read_index, thinned, times_path
from tickover.host.model import InstanceState, InstanceView
from tickover.host.runtimes import logs
from tickover.host.upkeep import look_at_logs

SECOND = 1_000_000_000
CHAT = Whose("chat-dev", "live", "3")


def wrote(log: Path, text: str, at: int) -> None:
    """As an instance does, at a second."""
    with log.open("a") as file:
        file.write(text)
    os.utime(log, ns=(at * SECOND, at * SECOND))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "i-1.log"


def test_a_line_has_the_time_of_the_look_that_saw_it_whole(log: Path) -> None:
    wrote(log, "one\nhal", 10)
    assert look(log, CHAT) == 7
    wrote(log, "f\n", 20)
    assert look(log, CHAT) == 9
    index = read_index(log)
    assert index.whose == CHAT
    assert [index.time_of(end) // SECOND for end in (4, 9)] == [10, 20]


def test_a_look_at_what_has_not_grown_notes_nothing(log: Path) -> None:
    wrote(log, "one\n", 10)
    for _ in range(3):
        look(log, CHAT)
    assert list(read_index(log).ends) == [4]
    assert times_path(log).stat().st_mode & 0o777 == 0o600


def test_times_never_go_back_when_the_clock_does(log: Path) -> None:
    wrote(log, "one\n", 10)
    look(log)
    wrote(log, "two\n", 5)
    look(log)
    assert [t // SECOND for t in read_index(log).times] == [10, 10]


def test_who_it_was_is_noted_when_it_is_known(log: Path) -> None:
    wrote(log, "one\n", 10)
    look(log)
    assert read_index(log).whose == Whose()
    look(log, CHAT)
    look(log, Whose("other", "live", "1"))
    assert read_index(log).whose == CHAT


def test_a_log_that_is_not_there_is_empty(log: Path) -> None:
    assert look(log, CHAT) == 0 and read_index(log) == LogIndex() and not cut(log, 10)


def test_places_stay_when_a_log_is_cut(log: Path) -> None:
    for number in range(10):
        wrote(log, f"line {number}\n", number)
        look(log, CHAT)
    assert cut(log, 42) and log.read_text() == ""
    assert look(log) == 70
    wrote(log, "line 10\n", 20)
    assert look(log) == 78
    index = read_index(log)
    assert (index.whose, index.base, index.older) == (CHAT, 70, 49)
    assert log.with_suffix(".log.1").read_text() == "line 7\nline 8\nline 9\n"
    assert [index.time_of(end) // SECOND for end in (56, 63, 70, 78)] == [7, 8, 9, 20]
    assert log.with_suffix(".log.1").stat().st_mode & 0o777 == 0o600


def test_a_short_log_is_not_cut(log: Path) -> None:
    wrote(log, "line\n", 1)
    assert not cut(log, 5) and log.read_text() == "line\n"


def test_a_host_that_was_killed_after_the_cut_leaves_no_time_of_what_came_before(log: Path) -> None:
    wrote(log, "x" * 100, 10)
    look(log, CHAT)
    assert logs.cut(log, 50) == 100
    wrote(log, "after\n", 30)
    assert look(log) == 106
    index = read_index(log)
    assert (index.base, index.whose) == (100, CHAT) and index.time_of(106) == 30 * SECOND


def test_times_that_were_half_written_do_no_harm(log: Path) -> None:
    wrote(log, "one\n", 10)
    look(log, CHAT)
    with times_path(log).open("ab") as file:
        file.write(b"1234567")
    wrote(log, "two\n", 20)
    look(log)
    assert [t // SECOND for t in read_index(log).times] == [10, 20]
    times_path(log).write_bytes(b"{")
    assert look(log, CHAT) == 8 and read_index(log).time_of(8) == 20 * SECOND


def test_the_window_of_times(log: Path) -> None:
    index = LogIndex(ends=[10, 20, 30], times=[100, 200, 300])
    assert [index.begin_of(at) for at in (0, 100, 101, 200, 300, 301)] == [0, 0, 10, 10, 20, 30]
    assert [index.end_of(at) for at in (100, 101, 300, 301)] == [0, 10, 20, 30]
    assert LogIndex(base=9, older=5, ends=[2, 8], times=[1, 2]).begin_of(2) == 5


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 10])
def test_thinning_keeps_the_end_and_is_never_early(count: int) -> None:
    ends, times = list(range(1, count + 1)), list(range(101, 101 + count))
    thin = thinned(LogIndex(ends=ends, times=times))
    assert len(thin.ends) <= count - count // 4 or count < 4
    assert (thin.ends[-1], thin.times[-1]) == (ends[-1], times[-1])
    assert all(0 <= thin.time_of(end) - when <= 1 for end, when in zip(ends, times, strict=True))


def test_the_file_is_bounded(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_index, "MAX_LOOKS", 16)
    for second in range(200):
        wrote(log, "x\n", second)
        look(log, CHAT)
    assert times_path(log).stat().st_size <= 512 + 17 * 16
    index = read_index(log)
    assert index.whose == CHAT and index.time_of(400) == 199 * SECOND
    assert index.time_of(2) < 199 * SECOND


def test_tidying_takes_the_times_with_the_log(log: Path) -> None:
    wrote(log, "one\n", 1)
    look(log)
    logs.tidy(log.parent, set(), 0)
    assert list(log.parent.iterdir()) == []


def test_the_host_notes_whose_logs_grow(log: Path) -> None:
    wrote(log, "one\n", 10)
    view = InstanceView("i-1", "chat-dev", "live", "3", InstanceState.IDLE, 0, 1, 2, 3)
    views = (view, replace(view, instance_id="i-2"))  # the second has written nothing
    sizes = look_at_logs(log.parent, views, {})
    assert sizes == {"i-1": 4}
    assert read_index(log).whose == CHAT and not times_path(log.with_name("i-2.log")).exists()
    times_path(log).unlink()
    assert look_at_logs(log.parent, views, sizes) == sizes and not times_path(log).exists()  # nothing to note
    wrote(log, "two\n", 20)
    assert look_at_logs(log.parent, views, sizes) == {"i-1": 8} and read_index(log).time_of(8) == 20 * SECOND
