"""Looks at folders: what they say, what they raise, and when they do not come back."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.support.docker_runtime import spec
from tickover.host.looks import FolderSilent, Looks

MOUNT = {"mountPoints": [{"serverAddr": "local:/models", "mountDir": "/mnt/models"}]}


def test_a_look_says_or_raises_what_it_has_found():
    async def scenario():
        looks = Looks()
        for _ in range(3):
            assert await looks.at("local:/models", lambda: 7) == 7
            with pytest.raises(ValueError, match="no"):
                await looks.at("local:/models", lambda: int("no"))
            with pytest.raises(TimeoutError, match="its own"):
                await looks.at("local:/models", own_timeout)

    asyncio.run(scenario())


def own_timeout():
    raise TimeoutError("its own")


def test_one_that_does_not_come_back_is_told_and_no_other_is_sent_after_it():
    going = threading.Event()
    sent = []

    def look():
        sent.append(threading.current_thread())
        going.wait()
        return "there"

    async def scenario():
        looks = Looks(seconds=0.05)
        function = spec(nasConfig=MOUNT)
        for _ in range(3):
            with pytest.raises(FolderSilent, match=r"NAS local:/models has not answered for 0.05 s"):
                await looks.of(function, look)
        assert len(sent) == 1 and sent[0].daemon
        assert await looks.of(spec(), lambda: "no mounts") == "no mounts"
        assert await looks.at("another", lambda: "there") == "there"
        going.set()
        sent[0].join()
        assert await looks.of(function, look) == "there"

    try:
        asyncio.run(scenario())
    finally:
        going.set()


def test_who_asked_may_go_away():
    going = threading.Event()

    async def scenario():
        looks = Looks()
        asking = asyncio.ensure_future(looks.at("local:/models", going.wait))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    try:
        asyncio.run(scenario())
    finally:
        going.set()
