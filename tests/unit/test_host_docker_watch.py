"""Watching one container on an engine that says what it is told to say."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.support.host_core import run
from tickover.host.runtimes.base import Condition, ExitStatus
from tickover.host.runtimes.docker_config import LOG_LABEL
from tickover.host.runtimes.docker_faults import away, refusal
from tickover.host.runtimes.docker_watch import ContainerLog, Watch

EXITED = {"State": {"Status": "exited", "ExitCode": 3}, "HostConfig": {"Memory": 128 * 2**20}}


class Engine:
    """wait returns when `ended` is set; following tells `followed` and then nothing more."""

    def __init__(self, followed=(), written=(), shown=None):
        self.followed, self.written, self.shown = followed, written, shown or EXITED
        self.ended = asyncio.Event()
        self.asked = []
        self.waits = []

    async def wait(self, ref):
        if self.waits:
            error = self.waits.pop(0)
            if error is not None:
                raise error
            return
        await self.ended.wait()

    async def inspect(self, ref):
        return self.shown

    async def logs(self, ref, since_ns, *, follow):
        self.asked.append((since_ns, follow))
        for when_ns, text in self.followed if follow else self.written:
            if when_ns >= since_ns:
                yield when_ns, text
        if follow:
            await asyncio.Event().wait()


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


def test_words_that_the_end_overtook_are_in_the_log_before_the_end_is_told(tmp_path):
    path = tmp_path / "log"

    async def scenario():
        engine = Engine([(5, b"first\n")], [(5, b"first\n"), (6, b"last\n")])
        watch = Watch(engine, "ref", Condition.RUNNING, ContainerLog(path, afresh=True))
        told = []
        watch.listen(lambda status: told.append((status, path.read_text())))
        await turns()
        assert path.read_text() == "first\n" and told == []
        engine.ended.set()
        await watch.ended.wait()
        assert told == [(ExitStatus(code=3), "first\nlast\n")]
        assert engine.asked == [(0, True), (6, False)]
        assert os.stat(path).st_mtime_ns == 6
        await watch.close()

    run(scenario())


def test_a_later_watch_goes_on_where_the_log_ends(tmp_path):
    path = tmp_path / "log"
    path.write_text("first\n")
    os.utime(path, ns=(41, 41))
    shown = {**EXITED, "Config": {"Labels": {LOG_LABEL: str(path)}}}

    async def scenario():
        engine = Engine([(41, b"first\n"), (42, b"second\n")], (), shown)
        watch = Watch(engine, "ref", Condition.FROZEN, None)
        await turns()
        assert path.read_text() == "first\nsecond\n"
        await watch.close()

    run(scenario())


def test_a_kill_for_memory_is_said_in_the_log(tmp_path):
    shown = {**EXITED, "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True}}

    async def scenario():
        engine = Engine(shown=shown)
        watch = Watch(engine, "ref", Condition.RUNNING, ContainerLog(tmp_path / "log", afresh=True))
        engine.ended.set()
        await watch.ended.wait()
        assert "more than its memorySize, 128 MB" in (tmp_path / "log").read_text()
        await watch.close()

    run(scenario())


@pytest.mark.parametrize(
    "error",
    [away("unix:///x", "gone"), refusal(500, "context canceled", "x"), None],
    ids=["away", "refused", "answered too early"],
)
def test_a_wait_that_breaks_off_tells_no_end(tmp_path, error):
    async def scenario():
        engine = Engine(shown={"State": {"Status": "running"}})
        engine.waits = [error]
        watch = Watch(engine, "ref", Condition.RUNNING, ContainerLog(tmp_path / "log", afresh=True))
        told = []
        watch.listen(told.append)
        await turns()
        assert engine.waits == [] and told == [] and watch.condition is Condition.RUNNING
        await watch.close()

    run(scenario())


def test_a_log_that_cannot_be_written_does_not_hide_the_end(tmp_path):
    async def scenario():
        engine = Engine([(5, b"first\n")], [(6, b"last\n")])
        watch = Watch(engine, "ref", Condition.RUNNING, ContainerLog(tmp_path, afresh=True))  # a folder
        told = []
        watch.listen(told.append)
        engine.ended.set()
        await watch.ended.wait()
        assert told == [ExitStatus(code=3)]
        late = []
        watch.listen(late.append)
        taken_back = []
        watch.listen(taken_back.append)()
        await turns()
        assert late == [ExitStatus(code=3)] and taken_back == []
        await watch.close()

    run(scenario())
