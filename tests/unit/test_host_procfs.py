"""Who is below whom, and that an id which was used again is not taken for the former process."""

from __future__ import annotations

import dataclasses
import subprocess

from tickover.host.runtimes import procfs
from tickover.host.runtimes.procfs import ProcessStat, below


def stat(pid: int, parent: int) -> ProcessStat:
    return ProcessStat(pid, "S", pid, pid, 100 + pid, parent)


def test_all_below_the_roots_are_found_once_and_nobody_else():
    # 1 → 10 → 11 → 12, 1 → 20 → 21; 12 carries the mark as 10 does, 11 does not
    rows = [stat(1, 0), stat(10, 1), stat(11, 10), stat(12, 11), stat(20, 1), stat(21, 20)]
    found = below({10, 12}, {row.pid: row for row in rows})
    assert sorted(row.pid for row in found) == [10, 11, 12]
    assert below(set(), {row.pid: row for row in rows}) == []


def test_only_the_very_process_is_killed():
    with subprocess.Popen(["sleep", "60"]) as child:
        found = procfs.read_stat(child.pid)
        assert found is not None
        procfs.kill(dataclasses.replace(found, start_ticks=found.start_ticks - 1))
        assert child.poll() is None
        procfs.kill(found)
        assert child.wait(10) == -9
        procfs.kill(found)  # gone: no error
