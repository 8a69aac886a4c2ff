"""The access log read back: filters, the last lines, over its rotation."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tickover.host.access_tail import Place, Reader, files_of, lines_before, parse_place, stream, wall_ns
from tickover.host.log_stream import LogQuery

ALL = LogQuery()


def put(path: Path, *numbers: int) -> None:
    with path.open("a") as file:
        for n in numbers:
            said = {
                "time": f"2026-01-01T00:00:{n % 60:02d}.000000Z",
                "function": f"f{n % 2}",
                "request_id": n,
            }
            file.write(json.dumps({**said, "instance": "i-a", "qualifier": "live", "version": "1"}) + "\n")


def rotate(path: Path) -> None:
    for n in (3, 2, 1):
        older = path.with_name(f"{path.name}.{n}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{n + 1}"))
    path.rename(path.with_name(path.name + ".1"))


async def read(reader: Reader) -> list[int]:
    return numbers([piece async for piece in reader.more()])


def numbers(pieces: list[bytes]) -> list[int]:
    return [json.loads(line)["request_id"] for piece in pieces for line in piece.splitlines()]


def asked(path: Path, **given: Any) -> list[int]:
    async def all_of_it() -> list[bytes]:
        return [piece async for piece in stream(path, LogQuery(**given), None, lambda: True)]

    return numbers(asyncio.run(all_of_it()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "access.log"
    put(found, 1, 2)
    rotate(found)
    put(found, 3, 4)
    rotate(found)
    put(found, 5, 6)
    (tmp_path / "access.log.old").write_text("{}\n")  # somebody's own
    return found


def test_the_files_are_read_the_oldest_first(path: Path) -> None:
    assert [file.name for _, file in files_of(path)] == ["access.log.2", "access.log.1", "access.log"]
    assert asked(path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"tail": 3}, [4, 5, 6]),
        ({"tail": 99}, [1, 2, 3, 4, 5, 6]),
        ({"tail": 2, "functions": frozenset({"f1"})}, [3, 5]),
        ({"functions": frozenset({"f0", "f1"})}, [1, 2, 3, 4, 5, 6]),
        ({"since_ns": wall_ns("2026-01-01T00:00:05Z")}, [5, 6]),
        ({"until_ns": wall_ns("2026-01-01T00:00:03Z")}, [1, 2]),
        ({"instance": "i-b"}, []),
        ({"qualifier": "other"}, []),
        ({"version": "2"}, []),
        ({"tail": 1, "follow": True}, [6]),
    ],
)
def test_what_is_asked_for(path: Path, given: dict[str, Any], wanted: list[int]) -> None:
    assert asked(path, **given) == wanted


def test_no_file_is_no_line(tmp_path: Path) -> None:
    assert asked(tmp_path / "access.log") == asked(tmp_path / "access.log", tail=3) == []


def test_a_reader_goes_on_over_rotations_and_comes_back_with_its_place(path: Path) -> None:
    reader = Reader(path, ALL, None)
    assert numbers(asyncio.run(reader.last(1))) == [6]
    assert asyncio.run(read(reader)) == []
    put(path, 7)
    rotate(path)
    put(path, 8)
    rotate(path)
    put(path, 9)
    assert asyncio.run(read(reader)) == [7, 8, 9]
    place = reader._place
    assert place is not None and parse_place(str(place)) == place
    put(path, 10)
    assert asyncio.run(read(Reader(path, ALL, place))) == [10]


def test_a_line_that_is_being_written_is_told_when_it_is_whole(path: Path) -> None:
    reader = Reader(path, ALL, None)
    with path.open("a") as file:
        file.write('{"time": "2026-01-01T00:00:07Z", ')
        file.flush()
        assert asyncio.run(read(reader))[-1] == 6
        file.write('"request_id": 7}\n')
    assert asyncio.run(read(reader)) == [7]


def test_who_comes_back_after_its_file_is_gone_gets_what_is_left(path: Path) -> None:
    assert asyncio.run(read(Reader(path, ALL, Place(0, 99)))) == [1, 2, 3, 4, 5, 6]


def test_a_torn_line_is_left_out_and_missing_ones_are_told_to_all(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"time": "2026\n{"time": "2026-01-01T00:00:09Z", "dropped": 3, "request_id": 9}\n')
    assert asked(path, functions=frozenset({"none"})) == [9]


def test_what_the_hosts_own_tools_ask_is_not_told(path: Path) -> None:
    with path.open("a") as file:
        for number, asked_for in ((7, "/_tickover/v1/access"), (8, "/2023-03-30/functions"), (9, "/fn/a/")):
            file.write(json.dumps({"request_id": number, "path": asked_for, "function": ""}) + "\n")
    assert asked(path) == [1, 2, 3, 4, 5, 6, 8, 9]


def test_the_last_lines_of_long_files(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    put(path, *range(3000))  # several chunks
    found = [json.loads(text)["request_id"] for _, text in lines_before(path)]
    assert found == list(range(2999, -1, -1))
    assert next(place.offset for place, _ in lines_before(path)) == path.stat().st_size
    assert asked(path, tail=2) == [2998, 2999]
