"""The table of sessions, how requests name them, and their turn for an instance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.host_core import an_instance, function, pool_of
from tests.support.host_edge_fakes import FakePool, ask, echo, instance, open_door, registry_with
from tickover.errors import TickoverError
from tickover.fc.function import Function
from tickover.host.affinity import (
    Named,
    affinity_of,
    id_in_answer,
    id_in_first_event,
    named,
    telling,
)
from tickover.host.clock import SECOND_NS, SystemClock
from tickover.host.db import Database
from tickover.host.desk import Desk
from tickover.host.http import Head, HttpError
from tickover.host.instance import Instance, PoolKey, PoolSettings
from tickover.host.model import InstanceGone, InstanceState, Lease, Place, Refused
from tickover.host.roster import Roster
from tickover.host.routes import RouteTable
from tickover.host.scheduler import decide
from tickover.host.session_desk import SessionDesk
from tickover.host.session_records import SessionRecords
from tickover.host.sessions import KEPT_ENDED_NS, Session, SessionKey, SessionTable, Terms
from tickover.host.states import Event
from tickover.host.store import Kind, Row

POOL = PoolKey("chat-dev", "live")
TERMS = Terms("HEADER_FIELD", 100, 10)


def key(name: str) -> SessionKey:
    return SessionKey(POOL, name)


def seconds(count: float) -> int:
    return int(count * SECOND_NS)


def a_function(kind: str, config: str | None = None, **more: object) -> Function:
    wire = {**function(concurrency=1).to_wire(), "sessionAffinity": kind, **more}
    if config is not None:
        wire["sessionAffinityConfig"] = config
    return Function.model_validate(wire)


def head(method: str = "GET", **headers: str) -> Head:
    pairs = tuple((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())
    return Head(method, "/", pairs)


# -- the table ---------------------------------------------------------------------------------------------


def test_idle_time_slides_and_the_greatest_age_does_not():
    table = SessionTable()
    session = table.bind(key("a"), "i-1", TERMS, 0)
    for moment in range(9, 99, 9):
        assert table.find(key("a"), seconds(moment)) is session
        session.used_ns = seconds(moment)
    session.used_ns = seconds(99)
    assert table.find(key("a"), seconds(99.9)) is session
    assert table.find(key("a"), seconds(100)) is None
    silent = table.bind(key("b"), "i-1", TERMS, 0)
    assert table.find(key("b"), seconds(10)) is None
    assert silent.ended_ns == seconds(10)


def test_a_request_in_flight_keeps_a_session_from_idling_out_but_not_from_its_age():
    table = SessionTable()
    session = table.bind(key("a"), "i-1", TERMS, 0)
    session.in_flight = 1
    assert table.find(key("a"), seconds(99)) is session
    assert table.find(key("a"), seconds(100)) is None


def test_idle_timeout_zero_is_none():
    table = SessionTable()
    table.bind(key("a"), "i-1", Terms("HEADER_FIELD", 100, 0), 0)
    assert table.find(key("a"), seconds(99)) is not None


def test_slots_are_counted_by_instance_and_freed_by_expiry():
    table = SessionTable()
    table.bind(key("a"), "i-1", TERMS, 0)
    table.bind(key("b"), "i-1", TERMS, seconds(5))
    assert not table.has_room("i-1", 2, seconds(9))
    assert table.has_room("i-2", 2, seconds(9))
    assert table.has_room("i-1", 2, seconds(11))
    assert table.count("i-1") == 1


def test_only_an_ended_session_with_that_wish_bars_its_id():
    table = SessionTable()
    free = table.bind(key("free"), "i-1", TERMS, 0)
    strict = table.bind(key("strict"), "i-1", Terms("HEADER_FIELD", 100, 10, may_reuse=False), 0)
    free.told = strict.told = True
    assert not table.is_barred(key("strict"))
    table.sweep(POOL, None, seconds(20))
    assert (table.is_barred(key("free")), table.is_barred(key("strict"))) == (False, True)
    assert table.forget(seconds(10) + KEPT_ENDED_NS) == [free, strict]
    assert not table.is_barred(key("strict"))


def test_sessions_end_with_their_instance():
    table = SessionTable()
    table.bind(key("a"), "i-1", TERMS, 0)
    kept = table.bind(key("b"), "i-2", TERMS, 0)
    table.sweep(POOL, frozenset({"i-2"}), 1)
    assert table.find(key("a"), 1) is None
    assert table.find(key("b"), 1) is kept


def test_rows_come_back_as_they_were(tmp_path: Path):
    first = SessionRecords(Database(tmp_path / "host.db"))
    session = Session(key("a"), "i-1", Terms("HEADER_FIELD", 7, 3, may_reuse=False), 1, 2, 3, told=True)
    first.write([session])
    first.close()
    second = SessionRecords(Database(tmp_path / "host.db"))
    (found,) = second.load()
    second.write([], [found])
    assert second.load() == []
    second.close()
    names = [name for name in Session.__slots__ if name != "is_dirty"]
    assert [getattr(found, n) for n in names] == [getattr(session, n) for n in names]


# -- how requests name them --------------------------------------------------------------------------------


def test_what_a_config_leaves_out_is_fcs_default():
    found = affinity_of(a_function("GENERATED_COOKIE"))
    assert found is not None
    assert (found.slots, found.terms) == (20, Terms("GENERATED_COOKIE", 21600, 1800))
    sse = affinity_of(a_function("MCP_SSE", timeout=77))
    assert sse is not None
    assert (sse.sse_path, sse.terms) == ("/sse", Terms("MCP_SSE", 77, 0))
    exclusive = affinity_of(a_function("GENERATED_COOKIE", instanceIsolationMode="SESSION_EXCLUSIVE"))
    assert exclusive is not None
    assert exclusive.slots == 1
    assert affinity_of(function()) is None


@pytest.mark.parametrize(
    ("kind", "request_head", "target", "expected"),
    [
        ("GENERATED_COOKIE", head(cookie="a=b; x-fc-cookie-session-id=s-1"), "/", Named("s-1", opens=True)),
        ("GENERATED_COOKIE", head(cookie="x-fc-cookie-session-id=-bad"), "/", Named("", opens=True)),
        ("GENERATED_COOKIE", head(), "/", Named("", opens=True)),
        ("HEADER_FIELD", head(my_session="s-1"), "/", Named("s-1", opens=True)),
        ("HEADER_FIELD", head(), "/", Named("", opens=True)),
        ("HEADER_FIELD", head(my_session="-s"), "/", 400),
        ("HEADER_FIELD", head(my_session="a" * 65), "/", 400),
        ("HEADER_FIELD", head(my_session=""), "/", 400),
        ("MCP_STREAMABLE", head("POST"), "/mcp", Named("", opens=True)),
        ("MCP_STREAMABLE", head("GET"), "/mcp", Named("")),
        ("MCP_STREAMABLE", head("POST", mcp_session_id="x.y~z"), "/mcp", Named("x.y~z")),
        ("MCP_STREAMABLE", head("DELETE", mcp_session_id="x"), "/mcp", Named("x", ends=True)),
        ("MCP_STREAMABLE", head("POST", mcp_session_id="a b"), "/mcp", 400),
        ("MCP_SSE", head(), "/sse", Named("", opens=True)),
        ("MCP_SSE", head(), "/sse?x=1", 400),
        ("MCP_SSE", head("POST"), "/messages/?session_id=ab12", Named("ab12")),
        ("MCP_SSE", head("POST"), "/messages?sessionId=ab12", Named("ab12")),
        ("MCP_SSE", head("GET"), "/health", Named("")),
    ],
)
def test_how_a_request_names_its_session(kind: str, request_head: Head, target: str, expected: object):
    config = '{"affinityHeaderFieldName": "My-Session"}' if kind == "HEADER_FIELD" else None
    affinity = affinity_of(a_function(kind, config))
    assert affinity is not None
    found = named(affinity, request_head, target)
    assert (found.status if isinstance(found, HttpError) else found) == expected


def test_how_an_answer_tells_an_id():
    cookie = affinity_of(a_function("GENERATED_COOKIE"))
    header = affinity_of(a_function("HEADER_FIELD", '{"affinityHeaderFieldName": "My-Session"}'))
    assert cookie is not None
    assert header is not None
    assert telling(cookie, "s") == ((b"set-cookie", b"x-fc-cookie-session-id=s; Max-Age=21600"),)
    assert telling(header, "s") == ((b"my-session", b"s"),)
    assert id_in_answer(((b"Mcp-Session-Id", b" abc "),)) == "abc"
    assert id_in_answer(((b"x", b"abc"),)) == ""
    event = b"event: endpoint\r\ndata: /messages/?session_id=9f\r\n\r\n"
    assert [id_in_first_event(event[:n]) for n in range(len(event))] == [None] * len(event)
    assert id_in_first_event(event + b"more") == "9f"
    assert id_in_first_event(b"data: nothing\n\n") == ""
    assert id_in_first_event(b"x" * 16384) == ""


# -- whose turn it is --------------------------------------------------------------------------------------


class Only:
    """A place of one instance, or of those in `open`."""

    def __init__(self, instance_id: str | None = None, open_: frozenset[str] = frozenset()) -> None:
        self.instance_id = instance_id
        self.open = open_
        self.got: list[str] = []

    def admits(self, instance_id: str) -> bool:
        return instance_id in self.open

    def taken(self, instance_id: str) -> None:
        self.got.append(instance_id)


class Scene:
    """A desk over two instances with room for one request each; it notes events."""

    def __init__(self, *instances: Instance) -> None:
        self.roster = Roster()
        self.roster.want([pool_of(function(concurrency=1), target=len(instances))], [])
        self.events: list[tuple[str, Event]] = []
        for one in instances:
            self.roster.add(one)
        self.desk = Desk(self.roster, SystemClock(), PoolSettings(), self.happened, lambda _: "127.0.0.1")
        self.key = instances[0].key

    def happened(self, instance: Instance, event: Event, reason: str) -> None:
        self.events.append((instance.instance_id, event))
        moves = {
            Event.ADMITTED: InstanceState.BUSY,
            Event.EMPTIED: InstanceState.READY,
            Event.WAKE_ASKED: InstanceState.WAKING,
        }
        instance.state = moves[event]
        self.desk.pump(instance.key)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_a_session_waits_its_turn_for_its_own_instance_and_others_pass():
    async def scenario() -> None:
        scene = Scene(
            an_instance(InstanceState.READY, name="i-a", concurrency=1),
            an_instance(InstanceState.READY, name="i-b", concurrency=1),
        )
        held = await scene.desk.acquire(scene.key, place=Only("i-a"))
        order: list[str] = []

        async def ask(name: str) -> None:
            lease = await scene.desk.acquire(scene.key, place=Only("i-a"))
            order.append(name)
            scene.desk.give_back(lease)

        waiting = [asyncio.create_task(ask(name)) for name in ("first", "second", "third")]
        await asyncio.sleep(0)
        other = await scene.desk.acquire(scene.key, place=Only("i-b"))  # not behind those that wait for i-a
        assert (held.instance_id, other.instance_id, order) == ("i-a", "i-b", [])
        scene.desk.give_back(held)
        await asyncio.gather(*waiting)
        assert order == ["first", "second", "third"]
        scene.desk.give_back(other)

    run(scenario)


def test_only_the_sessions_own_instance_is_woken():
    async def scenario() -> None:
        scene = Scene(
            an_instance(InstanceState.IDLE, name="i-a", concurrency=1),
            an_instance(InstanceState.IDLE, name="i-b", concurrency=1),
        )
        task = asyncio.create_task(scene.desk.acquire(scene.key, place=Only("i-a")))
        await asyncio.sleep(0)
        assert scene.events == [("i-a", Event.WAKE_ASKED)]
        scene.roster.instances["i-a"].state = InstanceState.READY
        scene.desk.pump(scene.key)
        assert (await task).instance_id == "i-a"

    run(scenario)


def test_who_waits_for_an_instance_that_ends_is_told_at_once():
    async def scenario() -> None:
        scene = Scene(an_instance(InstanceState.IDLE, name="i-a", concurrency=1))
        task = asyncio.create_task(scene.desk.acquire(scene.key, place=Only("i-a")))
        await asyncio.sleep(0)
        scene.roster.instances["i-a"].state = InstanceState.FAILED
        scene.desk.pump(scene.key)
        with pytest.raises(InstanceGone) as gone:
            await task
        assert gone.value.instance_id == "i-a"
        with pytest.raises(InstanceGone):
            await scene.desk.acquire(scene.key, place=Only("i-a"))

    run(scenario)


def test_a_new_session_goes_where_there_is_a_slot_and_is_refused_without_one():
    async def scenario() -> None:
        scene = Scene(
            an_instance(InstanceState.READY, name="i-a", concurrency=1),
            an_instance(InstanceState.IDLE, name="i-b", concurrency=1),
        )
        place = Only(open_=frozenset({"i-b"}))
        task = asyncio.create_task(scene.desk.acquire(scene.key, place=place))
        await asyncio.sleep(0)
        assert scene.events == [("i-b", Event.WAKE_ASKED)]
        with pytest.raises(Refused, match="sessionConcurrencyPerInstance") as refused:
            await scene.desk.acquire(scene.key, place=Only())
        assert refused.value.status == 429
        scene.roster.instances["i-b"].state = InstanceState.READY
        scene.desk.pump(scene.key)
        assert (await task).instance_id == "i-b"
        assert place.got == ["i-b"]

    run(scenario)


def test_a_pool_that_shrinks_keeps_the_instances_with_sessions():
    quiet = an_instance(InstanceState.BUSY, name="i-quiet", in_flight=1)
    keeps = an_instance(InstanceState.IDLE, name="i-keeps")
    keeps.sessions = 3
    decision = decide([pool_of(target=1)], [quiet, keeps], {}, 0, PoolSettings(), wall_ns=0)
    assert [e.instance_id for e in decision.effects if getattr(e, "event", None) is Event.RETIRED] == [
        "i-quiet"
    ]


def test_affinity_sets_the_concurrency_of_an_instance():
    instance = an_instance(InstanceState.READY, concurrency=1)
    assert instance.concurrency == 1
    instance.spec = a_function("GENERATED_COOKIE")
    assert instance.concurrency == 200


def test_an_id_that_could_not_be_kept_is_not_told(monkeypatch: pytest.MonkeyPatch):
    desk = SessionDesk(SessionRecords(Database(Path(":memory:"))), SystemClock())
    spec = a_function("GENERATED_COOKIE")

    async def first_answer() -> tuple[tuple[bytes, bytes], ...]:
        seat = desk.seat(POOL, spec, head(), "/")
        assert seat is not None
        await seat.lease(FakePool([1]))
        added = seat.on_head(200, ())
        assert desk.table.find(seat.key, 0) is not None
        seat.left()
        kept.append(desk.table.find(seat.key, 0) is not None)
        return added

    def full(*_: object) -> None:
        raise TickoverError("disk-full", "No space left on disk", "no room")

    kept: list[bool] = []
    assert [name for name, _ in asyncio.run(first_answer())] == [b"set-cookie"]
    monkeypatch.setattr(desk, "save", full)
    assert asyncio.run(first_answer()) == ()
    assert kept == [True, False]
    asyncio.run(desk.close())


@pytest.mark.parametrize("where", ["the function", "a version of it", "neither"])
def test_routes_know_whose_sessions_have_to_be_looked_for(tmp_path: Path, where: str):
    affinity = {"sessionAffinity": "GENERATED_COOKIE"}
    registry = registry_with(tmp_path, function=affinity if where == "the function" else None)
    if where == "a version of it":
        registry.put(Row(Kind.VERSION, "chat-dev", "1", affinity, {}, 1, 1))
    table = RouteTable(registry)
    assert table.keeps_sessions("chat-dev") is (where != "neither")
    assert not table.keeps_sessions("other")


@pytest.mark.parametrize("kind", ["NONE", "GENERATED_COOKIE"])
def test_only_a_function_that_keeps_no_sessions_is_served_without_looking(tmp_path: Path, kind: str):
    """At once on a lease and a connection that are free; else with a place, and its answer tells the id."""

    class Watched(FakePool):
        places: ClassVar[list[bool]] = []

        def _lease(self, function_name: str, qualifier: str, place: Place | None = None) -> Lease:
            self.places.append(place is not None)
            return super()._lease(function_name, qualifier, place)

        async def acquire(self, *names: str, **more: Any) -> Lease:
            asked.append("acquire")
            return await super().acquire(*names, **more)

    asked: list[str] = []

    async def scenario() -> None:
        registry = registry_with(tmp_path, function={"sessionAffinity": kind})
        async with instance(echo) as up, open_door(pool := Watched([up]), registry) as port:
            pool.places.clear()
            first, headers, _ = await ask(port, b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\n\r\n")
            assert first == "HTTP/1.1 200 OK"
            assert ("set-cookie" in headers) is (kind != "NONE")
            assert pool.places == [kind != "NONE"]
            assert asked == ([] if kind == "NONE" else ["acquire"])

    run(scenario)
