"""What is open when a host is killed is told by the next one, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tickover.host.access import End, Trace, line
from tickover.host.open_requests import KILLED, OpenRequests, left_open

DYING = """
import os, signal, sys
from pathlib import Path
from tickover.host.access import Trace
from tickover.host.open_requests import OpenRequests
noted = OpenRequests(Path(sys.argv[1]))
noted.open()
traces = [Trace(f"id-{number}", "GET", f"/p/{number} {'x' * number * 100}", "", 0) for number in range(5)]
for trace in traces:
    noted.begun(trace)
noted.ended(traces[1])
noted.begun(Trace("id-5", "POST", "/again", "", 0))
noted.ended(traces[3])
os.kill(os.getpid(), signal.SIGKILL)
"""


def trace(name="id", path="/"):
    return Trace(name, "GET", path, "", 0)


def test_a_killed_process_leaves_what_was_open_and_it_is_told_once(tmp_path):
    ended = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    now_ns = 2_000_000_000 * 10**9
    found = left_open(tmp_path, now_ns)
    assert sorted((one.request_id, one.method, one.path[:6]) for one in found) == [
        ("id-0", "GET", "/p/0 "),
        ("id-2", "GET", "/p/2 x"),
        ("id-4", "GET", "/p/4 x"),
        ("id-5", "POST", "/again"),
    ]
    assert {(one.end, one.reason, one.ended_wall_ns) for one in found} == {(End.BROKEN, KILLED, now_ns)}
    assert '"reason": "the host was killed"' in line(found[0])
    assert left_open(tmp_path, now_ns) == []
    assert list(tmp_path.iterdir()) == []


def test_a_long_path_is_cut_to_its_place(tmp_path):
    noted = OpenRequests(tmp_path)
    noted.open()
    noted.begun(trace("long", "/" + "x" * 1000))
    noted.begun(trace("short"))
    data = (tmp_path / f"open-requests.{os.getpid()}").read_bytes()
    assert data.count(b"\n") == 2
    noted.close()


def test_what_is_open_in_a_process_that_lives_is_nobodys_and_an_end_leaves_nothing(tmp_path):
    noted = OpenRequests(tmp_path)
    noted.open()
    noted.begun(trace())
    assert left_open(tmp_path, 1) == []
    assert len(list(tmp_path.iterdir())) == 1
    noted.close()
    assert list(tmp_path.iterdir()) == []
    late = trace()
    noted.begun(late)
    noted.ended(late)


def test_more_than_there_is_room_for_are_served_without_a_note(tmp_path):
    noted = OpenRequests(tmp_path)
    noted.open()
    many = [trace(f"id-{number}") for number in range(16_400)]
    for one in many:
        noted.begun(one)
    assert sum(one.slot < 0 for one in many) == 16
    for one in many:
        noted.ended(one)
    again = trace()
    noted.begun(again)
    assert again.slot >= 0
    noted.close()


def test_a_folder_that_cannot_be_written_costs_the_notes_only(tmp_path):
    noted = OpenRequests(tmp_path / "absent")
    noted.open()
    one = trace()
    noted.begun(one)
    noted.ended(one)
    noted.close()
    assert one.slot < 0
