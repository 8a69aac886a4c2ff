"""Several logs as one stream: which, in what order, how many, and what a follower sees."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tickover.host.log_index import Whose, cut, look, times_path
from tickover.host.log_stream import (
    PIECE_BYTES,
    REST_NS,
    Follower,
    LogQuery,
    Logs,
    in_pieces,
    selected,
    stream,
)
from tickover.host.model import InstanceState, InstanceView

SECOND = 1_000_000_000


class World:
    """A folder of logs, and the instances that the host knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.views: dict[str, InstanceView] = {}
        self.logs = Logs(folder, lambda: self.views.values(), lambda: self.is_over)
        self.is_over = False

    def born(self, name: str, function: str = "chat-dev", version: str = "1") -> None:
        self.views[name] = InstanceView(name, function, "live", version, InstanceState.BUSY, 0, 1, 2, 3)

    def wrote(self, name: str, text: str, at: int) -> None:
        path = self.folder / f"{name}.log"
        with path.open("a") as file:
            file.write(text)
        os.utime(path, ns=(at * SECOND, at * SECOND))
        view = self.views.get(name)
        look(path, Whose(view.function_name, view.qualifier, view.version_id) if view else None)

    def asked(self, **given: Any) -> list[str]:
        return [
            f"{row['instance']}:{row['message']}" for row in rows(asyncio.run(self._all(LogQuery(**given))))
        ]

    async def _all(self, query: LogQuery) -> list[bytes]:
        return [piece async for piece in stream(self.logs, query)]

    def follower(self, **given: Any) -> Follower:
        query = LogQuery(follow=True, **given)
        spans = asyncio.run(selected(self.logs.all(query), query))
        return Follower(self.logs, query, {name: end for name, (_, end) in spans.items()})


def rows(pieces: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for piece in pieces for line in piece.splitlines() if line]


def messages(found: Any) -> list[str]:
    return [row["message"] for row in rows(list(found))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.born("i-a")
    made.born("i-b", "draw-dev", "2")
    made.wrote("i-a", "one\n", 10)
    made.wrote("i-b", "two\n", 20)
    made.wrote("i-a", "three\nfour\n", 30)
    return made


def test_lines_of_all_come_in_the_order_of_their_times(world: World) -> None:
    assert world.asked() == ["i-a:one", "i-b:two", "i-a:three", "i-a:four"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"functions": frozenset({"draw-dev"})}, ["i-b:two"]),
        ({"functions": frozenset({"no-dev"})}, []),
        ({"instance": "i-b"}, ["i-b:two"]),
        ({"version": "1", "tail": 1}, ["i-a:four"]),
        ({"qualifier": "other"}, []),
        ({"tail": 0}, []),
        ({"tail": 3}, ["i-b:two", "i-a:three", "i-a:four"]),
        ({"tail": 99}, ["i-a:one", "i-b:two", "i-a:three", "i-a:four"]),
        ({"since_ns": 20 * SECOND}, ["i-b:two", "i-a:three", "i-a:four"]),
        ({"since_ns": 31 * SECOND}, []),
        ({"until_ns": 30 * SECOND}, ["i-a:one", "i-b:two"]),
        ({"since_ns": 11 * SECOND, "until_ns": 21 * SECOND, "tail": 5}, ["i-b:two"]),
    ],
)
def test_what_is_asked_for(world: World, given: dict[str, Any], wanted: list[str]) -> None:
    assert world.asked(**given) == wanted


def test_an_entry_tells_whose_line_it_is(world: World) -> None:
    [row] = rows(asyncio.run(world._all(LogQuery(instance="i-b"))))
    assert row == {
        "time": "1970-01-01T00:00:20.000000Z",
        "function": "draw-dev",
        "qualifier": "live",
        "version": "2",
        "instance": "i-b",
        "stream": "output",
        "message": "two",
        "place": 4,
    }


def test_an_instance_that_nobody_remembers_is_known_by_its_log(world: World) -> None:
    del world.views["i-b"]
    assert world.asked(functions=frozenset({"draw-dev"})) == ["i-b:two"]
    times_path(world.folder / "i-b.log").unlink()
    assert world.asked(instance="i-b") == ["i-b:two"]
    assert world.asked(functions=frozenset({"draw-dev"})) == []


def test_a_follower_hears_each_line_once_and_of_new_instances(world: World) -> None:
    follower = world.follower()
    assert messages(follower.round(0)) == []
    world.wrote("i-a", "five\n", 40)
    world.born("i-c")
    world.wrote("i-c", "hello\n", 39)
    assert messages(follower.round(0)) == ["hello", "five"]
    assert messages(follower.round(0)) == []


def test_a_follower_waits_for_the_end_of_a_line_for_a_while(world: World) -> None:
    follower = world.follower()
    world.wrote("i-a", "loading…", 40)
    assert messages(follower.round(0)) == []
    world.wrote("i-a", " 50 %", 41)
    assert messages(follower.round(REST_NS)) == []  # it goes on
    assert messages(follower.round(2 * REST_NS + 1)) == ["loading… 50 %"]
    world.wrote("i-a", " done\n", 42)
    assert messages(follower.round(2 * REST_NS + 2)) == [" done"]


def test_a_follower_hears_the_last_words_of_who_is_gone(world: World) -> None:
    follower = world.follower()
    assert messages(follower.round(0)) == []
    world.wrote("i-a", "fatal: no mem", 40)
    world.wrote("i-b", "bye", 41)
    del world.views["i-a"]
    world.views["i-b"] = replace(world.views["i-b"], destroyed_ns=5)
    assert messages(follower.round(0)) == ["fatal: no mem", "bye"]
    assert messages(follower.round(0)) == []


def test_a_follower_goes_on_over_a_cut(world: World) -> None:
    follower = world.follower()
    world.wrote("i-a", "".join(f"line {n}\n" for n in range(10)), 40)
    assert messages(follower.round(0)) == [f"line {n}" for n in range(10)]
    world.wrote("i-a", "unread\n", 41)
    assert cut(world.folder / "i-a.log", 30)
    world.wrote("i-a", "after\n", 42)
    assert messages(follower.round(0)) == ["unread", "after"]


def test_a_follower_keeps_to_its_window(world: World) -> None:
    follower = world.follower(until_ns=50 * SECOND)
    world.wrote("i-a", "in\n", 49)
    world.wrote("i-b", "out\n", 50)
    assert messages(follower.round(0)) == ["in"]


def test_a_follower_ends_with_its_host(world: World) -> None:
    world.is_over = True
    assert world.asked(follow=True) == world.asked()


def test_pieces_are_bounded_and_made_as_they_are_taken() -> None:
    made = 0

    def entries() -> Any:
        nonlocal made
        for _ in range(100):
            made += 1
            yield b"x" * 9_999 + b"\n"

    pieces = in_pieces(entries())
    assert len(next(pieces)) <= PIECE_BYTES + 10_000 and made == 2
    assert sum(map(len, pieces)) == 98 * 10_000
