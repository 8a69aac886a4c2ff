"""Lines of a log: whole ones, long ones, the last ones, over a cut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickover.host.log_index import cut, look, read_index
from tickover.host.log_lines import CHUNK, HOST, MAX_LINE, line_begin, lines, split, tail_begin

SECOND = 1_000_000_000


def wrote(log: Path, text: str, at: int = 1) -> int:
    with log.open("a") as file:
        file.write(text)
    os.utime(log, ns=(at * SECOND, at * SECOND))
    return look(log)


def texts(log: Path, begin: int = 0, *, with_rest: bool = True) -> list[str]:
    return [line.text.decode() for line in lines(log, begin, look(log), with_rest=with_rest)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "i-1.log"


def test_lines_have_their_times_and_places(log: Path) -> None:
    wrote(log, "one\ntw", 10)
    end = wrote(log, "o\r\n\nrest", 20)
    found = [(x.time_ns // SECOND, x.begin, x.end, x.text) for x in lines(log, 0, end)]
    assert found == [(10, 0, 4, b"one"), (20, 4, 9, b"two"), (20, 9, 10, b""), (20, 10, 14, b"rest")]
    assert texts(log, with_rest=False) == ["one", "two", ""]


def test_many_chunks_are_the_same_lines(log: Path) -> None:
    wanted = [f"line {n} " + "x" * (n % 300) for n in range(3000)]
    assert wrote(log, "".join(f"{line}\n" for line in wanted)) > 4 * CHUNK
    assert texts(log) == wanted


def test_a_long_line_is_told_in_pieces_between_characters() -> None:
    data = ("a" + "é" * MAX_LINE + "\nend\n").encode()
    pieces = [text for _, text in split(data)]
    assert b"".join(pieces[:-1]) == data[: -len("\nend\n")] and pieces[-1] == b"end"
    assert all(len(piece) <= MAX_LINE and piece.decode() for piece in pieces)
    assert sum(size for size, _ in split(data)) == len(data)


def test_a_line_without_an_end_that_is_no_text_makes_progress(log: Path) -> None:
    log.write_bytes(b"\x80" * (3 * CHUNK + 5))
    assert sum(line.end - line.begin for line in lines(log, 0, look(log))) == 3 * CHUNK + 5


def test_a_place_inside_a_line_is_of_that_line(log: Path) -> None:
    wrote(log, "one\ntwo\n")
    index = read_index(log)
    assert [line_begin(log, index, at) for at in (0, 2, 3, 4, 6, 8)] == [0, 0, 0, 4, 4, 8]


@pytest.mark.parametrize(("count", "wanted"), [(0, 8), (1, 4), (2, 0), (9, 0)])
def test_the_last_lines(log: Path, count: int, wanted: int) -> None:
    end = wrote(log, "one\ntwo\n")
    assert tail_begin(log, read_index(log), 0, end, count) == wanted


def test_the_last_lines_when_the_last_is_not_whole_and_over_chunks(log: Path) -> None:
    end = wrote(log, "one\ntwo\nthr")
    assert tail_begin(log, read_index(log), 0, end, 2) == 4
    end = wrote(log, "ee\n" + "x" * 2 * CHUNK + "\nlast\n")
    index = read_index(log)
    assert tail_begin(log, index, 0, end, 2) == end - 6 - 2 * CHUNK
    assert texts(log, tail_begin(log, index, 0, end, 4))[:2] == ["two", "three"]


def test_a_reader_goes_on_over_a_cut(log: Path) -> None:
    end = wrote(log, "one\ntwo\n", 10)
    reading = lines(log, 0, end)
    assert next(reading).text == b"one"
    wrote(log, "three\nfo", 20)
    assert cut(log, 15)  # keeps the last 7: "ree\nfo" and what is before it
    wrote(log, "ur\nfive\n", 30)
    index = read_index(log)
    assert (index.base, index.older) == (16, 9)
    assert [(x.text, x.time_ns // SECOND) for x in lines(log, 14, look(log))] == [
        (b"four", 30),
        (b"five", 30),
    ]
    assert line_begin(log, index, 0) == 14
    assert line_begin(log, index, 16) == 14  # across both files


def test_what_a_cut_took_before_it_was_read_is_told(log: Path) -> None:
    end = wrote(log, "".join(f"line {n}\n" for n in range(CHUNK)), 10)
    reading = lines(log, 0, end)
    first = [next(reading) for _ in range(3)]
    assert cut(log, 1000)
    found = [*first, *reading]
    told = [line for line in found if line.stream == HOST]
    assert len(told) == 1 and told[0].text.endswith(b"bytes of this log were cut off before they were read")
    assert found[-1].text == b"line %d" % (CHUNK - 1)
    assert sum(line.end - line.begin for line in found) == end  # nothing twice, nothing unaccounted for


def test_a_log_that_is_tidied_away_just_ends(log: Path) -> None:
    end = wrote(log, "one\n" * CHUNK)
    reading = lines(log, 0, end)
    next(reading)
    log.unlink()
    assert len(list(reading)) < CHUNK
