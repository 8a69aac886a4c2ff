"""What a former host says and does of sessions and requests when its instances have changed hands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.host_core import ManualClock
from tests.support.host_edge_fakes import FakePool
from tickover.host.affinity import Affinity
from tickover.host.db import Database
from tickover.host.elsewhere import Elsewhere
from tickover.host.guests import Guest
from tickover.host.http import HttpError
from tickover.host.instance import PoolKey
from tickover.host.model import Lease
from tickover.host.session_desk import SessionDesk, begin
from tickover.host.session_records import SessionRecords
from tickover.host.sessions import Terms

KEY = PoolKey("chat-dev", "live")
TERMS = Terms("HEADER_FIELD", 100, 10)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_session_made_by_hand_while_the_host_is_replaced_has_to_be_asked_for_again(
    tmp_path: Path, when: str
) -> None:
    """Before it has an instance, or between that and its writing."""
    desk = SessionDesk(SessionRecords(Database(tmp_path / "host.db")), ManualClock())

    class Leaving(FakePool):
        async def acquire(self, *names: str, **more: Any) -> Lease:
            if when == "before":
                return await Elsewhere(tmp_path, "1-1", {}).acquire(*names, **more)
            granted = await super().acquire(*names, **more)
            await desk.close()
            return granted

    pool = Leaving(ports=[1])

    async def scenario() -> None:
        affinity = Affinity("HEADER_FIELD", 5, TERMS, header=b"my-session")
        with pytest.raises(HttpError) as caught:
            await begin(desk, pool, KEY, affinity, "mine", TERMS)
        assert (caught.value.status, caught.value.retry_after_seconds) == (503, 1)

    asyncio.run(scenario())
    assert len(pool.released) == (when == "after")
    if when == "before":
        asyncio.run(desk.close())
    later = SessionDesk(SessionRecords(Database(tmp_path / "host.db")), ManualClock())
    assert later.table.all(KEY) == []
    asyncio.run(later.close())


def test_a_request_keeps_its_id_with_the_host_that_it_asks_next(tmp_path: Path) -> None:
    asked: list[str] = []

    class Noting(FakePool):
        async def acquire(self, *names: str, **more: Any) -> Lease:
            asked.append(more["request_id"])
            return await super().acquire(*names, **more)

    async def scenario() -> None:
        former = Elsewhere(tmp_path, "1-1", {})
        guest = Guest("1-1", Noting(ports=[1]), lambda _: None, lambda _: None)

        class Wire:
            def send(self, message: dict[str, Any]) -> None:
                guest.heard(message, [])

            def close(self) -> None: ...

        class Back:
            def send(self, message: dict[str, Any]) -> None:
                former.heard(message, [])

            def close(self) -> None: ...

        guest.line = Back()  # type: ignore[assignment]
        former.connected(Wire())  # type: ignore[arg-type]
        granted = await former.acquire("chat-dev", "live", request_id="one-id")
        assert granted.instance_id == "i-0"
        guest.heard({"do": "acquire", "number": 9, "function": "f", "qualifier": "q", "session": ""}, [])
        await asyncio.sleep(0)  # a host of a former version tells none
        former.close()

    asyncio.run(scenario())
    assert asked == ["one-id", ""]
