"""A host is replaced while it serves: nothing is lost, nothing is cut, whoever is killed on the way."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from alibabacloud_fc20230330 import models as fc

from tests.support.certificates import certificate
from tests.support.upgrade_world import Load, World, is_gone, until
from tickover.errors import TickoverError
from tickover.host.client import AdminClient
from tickover.host.daemon import host_status, start_host, stop_host

GOES_ON = "this host goes on"


def is_more(count: Callable[[], int], than: int) -> bool:
    return count() > than


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_nothing_is_lost_and_nothing_is_cut(world: World) -> None:
    """A stream, a kept connection and callers, over two hand-overs; each request is counted once."""
    first = world.start()
    kept = world.connection()
    stream = world.stream()
    stream.flows()
    assert world.hello(kept) == "hello"
    before = AdminClient(world.home).usage()["calls"]["echo-dev"]
    with Load(world) as load:
        second = world.upgrade()
        stream.flows()
        third = world.upgrade()
        stream.flows()
    assert load.lost == []
    assert len({first, second, third, world.pid}) == 3
    assert world.hello(kept) == "hello"  # its connection went along
    time.sleep(0.2)  # the instance would be frozen by now if nobody knew of the stream
    stream.flows()
    assert (world.instance()["state"], world.instance()["in_flight"]) == ("busy", 1)
    status = AdminClient(world.home).status()
    assert [one["requests"] for one in status["former_hosts"]] == [1]
    assert not is_gone(first)
    until(lambda: is_gone(second), "the end of a former host that has nothing open")
    stream.ends()
    kept.close()
    until(lambda: is_gone(first), "the end of the first host")
    until(lambda: world.instance()["state"] == "idle", "idle")
    assert AdminClient(world.home).usage()["calls"]["echo-dev"] == before + len(load.answers) + 2
    stop_host(world.home)
    total, span = world.meter()
    assert total == span


def test_long_connections_outlive_a_deploy_and_an_upgrade(world: World) -> None:
    """The new revision takes what is new; the former instance drains, counted by another host."""
    first = world.start()
    stream, tunnel = world.stream(), world.tunnel()
    former = world.instance()["instance_id"]
    world.deploy("second")
    until(lambda: world.answered_by() not in ("", former), "answers of the new instance")
    assert {v["instance_id"]: v["state"] for v in AdminClient(world.home).instances()}[former] == "draining"
    world.upgrade()
    stream.flows()
    assert tunnel.echo(b"hello") == b"HELLO"
    assert world.answered_by() != former
    (drains,) = (v for v in AdminClient(world.home).instances() if v["instance_id"] == former)
    assert (drains["state"], drains["in_flight"]) == ("draining", 2)
    stream.ends()
    time.sleep(0.1)
    assert tunnel.echo(b"more") == b"MORE"
    tunnel.close()
    until(lambda: len(AdminClient(world.home).instances()) == 1, "the end of the former instance")
    until(lambda: is_gone(first), "the end of the former host")


def test_an_instance_inherits_nothing_that_was_handed_over(world: World) -> None:
    """Else it would hold the folder's lock, and callers' connections, for as long as it lives."""
    world.start()
    kept = world.connection()
    assert world.hello(kept) == "hello"
    former = world.instance()["instance_id"]
    world.upgrade()
    assert world.hello(kept) == "hello"
    world.deploy("second")
    until(lambda: world.answered_by() not in ("", former), "answers of an instance of the new host")
    (pid,) = (view["pid"] for view in AdminClient(world.home).instances() if view["instance_id"] != former)
    opened = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir() if file.exists()]
    assert [name for name in opened if name.endswith("/lock")] == []
    os.kill(world.pid, signal.SIGKILL)
    until(lambda: host_status(world.home) is None, "the lock to be free")
    assert kept.sock is not None
    kept.sock.settimeout(10)
    assert kept.sock.recv(1) == b""  # its caller sees that it is closed
    kept.close()
    start_host(world.home, 0)
    stop_host(world.home)


def test_who_waits_keeps_waiting_and_no_instance_gets_too_many(world: World) -> None:
    world.start()
    one, two = world.stream("one"), world.stream("two")
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(world.hello()))
    waiting.start()
    until(lambda: world.waiting_now() == 1, "the request in the queue")
    world.upgrade()
    assert world.waiting_now() == 1
    assert world.instance()["in_flight"] == 2
    one.flows()
    two.flows()
    assert answers == []
    one.ends()
    waiting.join(10)
    assert answers == ["hello"]
    two.ends()


def test_successors_that_are_killed_at_any_step_leave_the_former_host(world: World) -> None:
    first = world.start()
    stream = world.stream()
    with Load(world) as load:
        world.spawn("kill:sent:take_over", "--take-over").wait(20)  # nothing may have been let go by then
        for point in ("kill:heard:offer", "kill:sent:taken", "kill:heard:go"):
            decided = world.log().count(GOES_ON)
            world.spawn(point, "--take-over").wait(20)
            until(partial(is_more, lambda: world.log().count(GOES_ON), decided), f"{point}: a decision")
            stream.flows()
            until(partial(is_more, lambda: len(load.answers), len(load.answers) + 5), "answers")
    assert load.lost == []
    assert world.pid == first
    assert world.instance()["in_flight"] == 1
    world.upgrade()  # and nothing stands in the way of the next one
    stream.ends()
    until(lambda: is_gone(first), "the end of the former host")


def test_a_successor_that_hangs_is_ended(world: World) -> None:
    first = world.start("hurried")
    stream = world.stream()
    child = world.spawn("stop:heard:offer", "--take-over")
    child.wait(20)
    assert child.returncode == -signal.SIGKILL
    until(lambda: GOES_ON in world.log(), "a decision")
    assert world.hello() == "hello"
    assert (world.pid, world.instance()["in_flight"]) == (first, 1)
    stream.ends()


@pytest.mark.parametrize("point", ["kill:sent:offer", "kill:heard:taken", "kill:sent:go"])
def test_a_former_host_that_dies_is_succeeded_all_the_same(world: World, point: str) -> None:
    first = world.start(point)
    stream = world.stream()
    second = world.upgrade()
    until(lambda: is_gone(first), "its end")  # the new one need not have waited for it
    assert world.pid == second
    assert world.hello() == "hello"
    until(lambda: world.instance()["state"] == "idle", "the end of counting what nobody has")
    assert stream.lines == 0


def test_a_former_host_that_is_killed_later_is_no_longer_counted(world: World) -> None:
    first = world.start()
    world.stream()
    world.upgrade()
    assert world.instance()["in_flight"] == 1
    os.kill(first, signal.SIGKILL)
    until(lambda: world.instance()["state"] == "idle", "idle")


def test_streams_outlive_the_successor_and_are_counted_by_the_next(world: World) -> None:
    world.start()
    stream = world.stream()
    second = world.upgrade()
    os.kill(second, signal.SIGKILL)
    until(lambda: is_gone(second), "its end")
    start_host(world.home)
    until(lambda: world.instance().get("in_flight") == 1, "the request of the first host")
    time.sleep(0.2)
    stream.flows()
    assert world.hello() == "hello"
    stream.ends()
    until(lambda: world.instance()["state"] == "idle", "idle")


def test_a_stream_older_than_a_former_host_may_be_is_cut_and_said(world: World) -> None:
    first = world.start()
    stream = world.stream()
    world.upgrade(max_age=0.3)
    with pytest.raises(http.client.IncompleteRead):
        stream._answer.read()
    until(lambda: is_gone(first), "the end of the former host")
    assert "older than a former host may be" in world.log()


def test_what_cannot_be_replaced_is_said(world: World) -> None:
    with pytest.raises(TickoverError) as caught:
        world.upgrade()
    assert caught.value.code == "host-not-running"
    first = world.start()
    mode = (world.home / "host" / "control.sock").stat().st_mode
    assert mode & 0o777 == 0o600
    (world.home / "host" / "control.sock").unlink()
    with pytest.raises(TickoverError) as caught:
        world.upgrade()
    assert caught.value.code == "host-not-upgraded"
    assert host_status(world.home) is not None
    assert world.pid == first
    assert world.hello() == "hello"


def test_https_goes_along(world: World) -> None:
    """The port for TLS is taken over; a connection that nobody uses ends: its keys stay where they are."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    child = world.spawn("none", "--port", "0", "--tls-port", str(port))
    until(lambda: world.pid == child.pid, "the host")
    world.declare()
    assert start_host(world.home, tls_port=port).pid == child.pid
    with pytest.raises(TickoverError, match=f"HTTPS on port {port}"):
        start_host(world.home, tls_port=port + 1)
    own = certificate("chat.example.test")
    made = fc.CreateCustomDomainInput(
        domain_name="chat.example.test",
        protocol="HTTPS",
        route_config=fc.RouteConfig(routes=[fc.PathConfig(path="/*", function_name="echo-dev")]),
        cert_config=fc.CertConfig(
            cert_name="own", certificate=own["certificate"], private_key=own["privateKey"]
        ),
    )
    world.client().create_custom_domain(fc.CreateCustomDomainRequest(body=made))
    context = ssl.create_default_context(cadata=own["certificate"])

    def connected() -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        return context.wrap_socket(plain, server_hostname="chat.example.test")

    def asked(secure: ssl.SSLSocket) -> bool:
        secure.sendall(b"GET /hello HTTP/1.1\r\nHost: chat.example.test\r\n\r\n")
        return b"200 OK" in secure.recv(65536)

    with connected() as kept:
        assert asked(kept)
        world.upgrade()
        with connected() as new:
            assert asked(new)
        until(lambda: is_gone(child.pid), "the end of the former host")
        while kept.recv(65536):
            pass  # what was left of the answer
