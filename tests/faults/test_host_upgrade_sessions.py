"""Sessions while their host is replaced: one host at a time has them, and none is lost."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from alibabacloud_fc20230330 import models as fc

from tests.support.upgrade_world import SERVER, World, is_gone, until
from tickover.host.client import AdminClient

NAMES = [f"s{number}" for number in range(6)]
GOES_ON = "this host goes on"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        made.start()
        keep_sessions(made)
        yield made
    finally:
        made.close()


@pytest.fixture
def callers(world: World) -> Iterator[list[Caller]]:
    """Each has its session."""
    made = [Caller(world, name) for name in NAMES]
    try:
        for caller in made:
            assert caller.ask() == 200
        assert len(set.union(*(caller.homes for caller in made))) == 2
        yield made
    finally:
        for caller in made:
            caller.close()


def keep_sessions(world: World) -> None:
    """Two instances, and sessions by a header."""
    config = json.dumps({"affinityHeaderFieldName": "My-Session", "sessionConcurrencyPerInstance": 3})
    body = fc.UpdateFunctionInput(session_affinity="HEADER_FIELD", session_affinity_config=config)
    client = world.client()
    client.update_function("echo-dev", fc.UpdateFunctionRequest(body=body))
    pool = fc.PutProvisionConfigInput(default_target=2, always_allocate_cpu=False, always_allocate_gpu=False)
    client.put_provision_config("echo-dev", fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))

    def are_up() -> bool:
        found = [view["state"] for view in AdminClient(world.home).instances()]
        return len(found) == 2 and set(found) <= {"ready", "idle"}

    until(are_up, "both instances")


class Caller:
    """One session's client, on a connection that it keeps."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.statuses: list[int] = []
        self.homes: set[str] = set()
        self._connection = world.connection()

    def ask(self) -> int:
        self._connection.request("GET", "/fn/echo-dev/hello", headers={"My-Session": self.name})
        answer = self._connection.getresponse()
        answer.read()
        self.statuses.append(answer.status)
        self.homes.add(answer.getheader("x-fc-instance-id") or "")
        return answer.status

    def ask_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.ask()
            time.sleep(0.005)

    def close(self) -> None:
        self._connection.close()


def during(callers: list[Caller], stop: threading.Event) -> list[threading.Thread]:
    threads = [threading.Thread(target=caller.ask_until, args=(stop,)) for caller in callers]
    for thread in threads:
        thread.start()
    return threads


def test_sessions_stay_where_they_are_over_two_upgrades(world: World, callers: list[Caller]) -> None:
    first, stop = world.pid, threading.Event()
    threads = during(callers, stop)
    world.upgrade()
    world.upgrade()
    stop.set()
    for thread in threads:
        thread.join()
    until(lambda: is_gone(first), "the end of the first host")
    for caller in callers:
        caller.ask()
        assert set(caller.statuses) == {200}
        assert len(caller.homes) == 1


def test_a_host_that_goes_on_has_its_sessions_and_refuses_nobody(world: World, callers: list[Caller]) -> None:
    stop = threading.Event()
    threads = during(callers, stop)
    world.spawn("kill:heard:offer", "--take-over").wait(20)
    until(lambda: GOES_ON in world.log(), "a decision")
    asked = {caller.name: len(caller.statuses) for caller in callers}
    for caller in callers:
        until(partial(has_more, caller, asked[caller.name] + 3), "answers")
    stop.set()
    for thread in threads:
        thread.join()
    for caller in callers:
        assert set(caller.statuses) == {200}
        assert len(caller.homes) == 1
    world.upgrade()
    late = Caller(world, NAMES[0])
    assert late.ask() == 200
    assert late.homes == callers[0].homes
    late.close()


def has_more(caller: Caller, than: int) -> bool:
    return len(caller.statuses) > than


def test_who_waits_to_begin_a_session_is_served_by_the_next_host(world: World) -> None:
    """Nobody is up: it waits in the former host's queue, and then in the next one's, at the same door."""
    client = world.client()
    request = fc.PutProvisionConfigRequest
    none, one = (
        fc.PutProvisionConfigInput(default_target=count, always_allocate_cpu=False, always_allocate_gpu=False)
        for count in (0, 1)
    )
    client.put_provision_config("echo-dev", request(qualifier="LATEST", body=none))
    until(lambda: not AdminClient(world.home).instances(), "the end of the instances")
    slow = fc.CustomContainerConfig(
        image="process://local",
        entrypoint=[sys.executable, "-c", "import time; time.sleep(1.5)" + SERVER],
        command=["${port}"],
    )
    body = fc.UpdateFunctionInput(custom_container_config=slow)
    client.update_function("echo-dev", fc.UpdateFunctionRequest(body=body))
    client.put_provision_config("echo-dev", request(qualifier="LATEST", body=one))
    caller = Caller(world, NAMES[0])
    asking = threading.Thread(target=caller.ask)
    asking.start()
    until(lambda: world.waiting_now() == 1, "a request that waits")
    world.upgrade()
    asking.join(20)
    assert caller.statuses == [200]
    caller.ask()
    assert caller.statuses == [200, 200]
    assert len(caller.homes) == 1
    caller.close()
