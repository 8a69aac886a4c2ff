"""Held bodies, deadlines, the patience with slow bodies, trailers, request ids."""

import asyncio
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.host import door_body
from tickover.host.door_body import MEMORY_BYTES, PIECE_BYTES, BodyStore, HeldBody
from tickover.host.door_connection import BODY_SLACK_SECONDS, slack_after
from tickover.host.door_deadlines import Deadlines
from tickover.host.http import new_request_id, trailer_lines


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(0, 60), st.integers(1, 200))
def test_a_body_is_read_as_it_came_in_memory_on_disk_and_without_room(pieces, memory, room):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door_body, "MEMORY_BYTES", memory)
        patch.setattr(door_body, "PIECE_BYTES", 7)
        store = BodyStore(most_bytes=room)
        held = HeldBody(store)
        for piece in pieces:
            held.add(piece)
        sent = b"".join(pieces)
        assert held.whole() == sent
        for at in range(len(sent)):
            piece = held.read(at)
            assert piece and sent[at:].startswith(piece)
        assert held.read(len(sent)) == b""
        assert store.used_bytes <= room
        held.let_go()
        assert store.used_bytes == 0
        assert not held.is_whole


def test_a_large_body_is_on_disk_and_its_file_goes_with_it(tmp_path: Path):
    store = BodyStore(tmp_path)
    held = HeldBody(store)
    for number in range(5):
        assert held.add(bytes([number]) * PIECE_BYTES)
    assert store.used_bytes == 5 * PIECE_BYTES > MEMORY_BYTES
    assert list(tmp_path.iterdir()) == []
    assert held.read(4 * PIECE_BYTES) == b"\x04" * PIECE_BYTES
    held.let_go()
    held.let_go()
    assert store.used_bytes == 0


def test_the_disk_is_bounded_over_all_bodies():
    store = BodyStore(most_bytes=2 * MEMORY_BYTES)
    first, second = HeldBody(store), HeldBody(store)
    assert first.add(bytes(MEMORY_BYTES + 1))
    assert not second.add(bytes(MEMORY_BYTES + 1))
    assert second.whole() == bytes(MEMORY_BYTES + 1)
    first.let_go()
    assert second.add(b"x")
    second.let_go()


def test_a_disk_that_is_full_is_told(tmp_path: Path):
    held = HeldBody(BodyStore(tmp_path / "gone"))
    assert held.add(b"x")
    assert not held.add(bytes(MEMORY_BYTES))
    assert held.whole() == b"x" + bytes(MEMORY_BYTES)


class Told:
    def __init__(self, log, then=lambda: None):
        self.log, self.then = log, then

    def time_is_up(self, seconds):
        self.log.append((self, seconds))
        self.then()


class SteppedLoop(asyncio.SelectorEventLoop):
    """Its time is what the test says; timers are run by `pass_time`."""

    now = 100.0

    def time(self):
        return self.now

    def pass_time(self, seconds):
        self.now += seconds
        self.call_soon(self.stop)
        self.run_forever()


def test_who_has_a_deadline_is_told_in_time_and_once():
    loop = SteppedLoop()
    deadlines, log = Deadlines(), []
    first, second, third = Told(log), Told(log), Told(log)

    async def begin():
        deadlines.add(second, 2)
        deadlines.add(first, 1)
        deadlines.add(third, 2)
        deadlines.discard(third)

    loop.run_until_complete(begin())
    loop.pass_time(0.99)
    assert log == []
    loop.pass_time(0.12)
    assert log == [(first, 1)]
    loop.pass_time(1.0)
    assert log == [(first, 1), (second, 2)]
    loop.pass_time(5.0)
    assert len(log) == 2
    assert len(deadlines) == 0
    deadlines.close()
    loop.close()


def test_one_that_is_told_may_discard_others_and_add_new_ones():
    loop = SteppedLoop()
    deadlines, log = Deadlines(), []
    other = Told(log)
    later = Told(log)

    def then():
        deadlines.discard(other)
        deadlines.add(later, 3)

    first = Told(log, then)

    async def begin():
        deadlines.add(first, 1)
        deadlines.add(other, 1)

    loop.run_until_complete(begin())
    loop.pass_time(1.2)
    assert log == [(first, 1)]
    loop.pass_time(3.2)
    assert log == [(first, 1), (later, 3)]
    deadlines.close()
    loop.close()


def test_patience_with_a_body_is_used_up_by_slowness_only():
    slack = BODY_SLACK_SECONDS
    for _ in range(1000):
        slack = slack_after(slack, 5, 2500)
    assert slack == BODY_SLACK_SECONDS
    for _ in range(13):
        slack = slack_after(slack, 5, 10)
    assert slack < 0
    assert slack_after(0, 5, 10**9) == BODY_SLACK_SECONDS


def test_trailers_cannot_change_what_came_before():
    given = (
        (b"x-checksum", b"1"),
        (b"Content-Length", b"5"),
        (b"Authorization", b"x"),
        (b"X-Fc-Instance-Id", b"forged"),
        (b"transfer-encoding", b"chunked"),
        (b"Host", b"other"),
    )
    assert trailer_lines(given) == b"x-checksum: 1\r\n"


def test_request_ids_are_random_uuids():
    ids = [uuid.UUID(new_request_id()) for _ in range(200)]
    assert len(set(ids)) == 200
    assert {(i.version, i.variant) for i in ids} == {(4, uuid.RFC_4122)}


def test_who_waits_for_the_end_of_a_body_hears_of_it_before_and_after_and_not_for_ever() -> None:
    async def scenario() -> None:
        late, soon, never = (HeldBody(BodyStore()) for _ in range(3))
        late.end()
        assert await late.until_end(60)
        waiting = asyncio.create_task(soon.until_end(60))
        await asyncio.sleep(0)
        soon.end()
        assert await waiting
        assert not await never.until_end(0)

    asyncio.run(scenario())
