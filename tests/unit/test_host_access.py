"""The access log: its lines, which requests are kept, the file's bounds; and the counters of requests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tickover.errors import ConfigError
from tickover.host.access import End, Trace, is_kept, line, sample_share
from tickover.host.access_file import AccessFile
from tickover.host.model import Lease
from tickover.host.request_stats import RequestStats

MS = 1_000_000


def trace(
    function: str = "chat", status: int = 200, end: End = End.COMPLETE, first: str = "80000000"
) -> Trace:
    made = Trace(first + "-0000-4000-8000-000000000000", "POST", "/v1/chat", "h", 5 * MS, function, "LATEST")
    made.status, made.end = status, end
    made.ended_ns, made.ended_wall_ns = 25 * MS, 1_700_000_000_000_000_000
    return made


def test_a_line_tells_what_happened_and_when_it_began() -> None:
    made = trace()
    made.granted(Lease("i-1", "chat", "live", "3", "127.0.0.1", 1, woke=True, waited_ns=2 * MS))
    made.granted(Lease("i-2", "chat", "live", "3", "127.0.0.1", 1, woke=False, waited_ns=3 * MS))
    made.sent(100, 15 * MS)
    made.sent(20, 20 * MS)
    found = json.loads(line(made))
    assert found["time"] == "2023-11-14T22:13:19.980000Z"
    assert (found["instance"], found["version"], found["qualifier"]) == ("i-2", "3", "live")
    assert (found["waited_ms"], found["woke"], found["first_byte_ms"], found["total_ms"]) == (5, True, 10, 20)
    assert (found["bytes_out"], found["status"], found["end"]) == (120, 200, "complete")


def test_what_a_caller_sends_cannot_make_a_line_long_or_two_lines() -> None:
    made = trace()
    made.path, made.host = "/\n" + "x" * 10_000, "h" * 10_000
    assert len(line(made)) < 1300 and "\n" not in line(made)


def test_no_first_byte_is_none_not_a_negative_time() -> None:
    assert json.loads(line(trace(status=0, end=End.CALLER_LEFT)))["first_byte_ms"] is None


@pytest.mark.parametrize(
    ("status", "end", "kept"),
    [
        (200, End.COMPLETE, False),
        (404, End.COMPLETE, True),
        (502, End.BROKEN, True),
        (200, End.BROKEN, True),
        (200, End.TIMEOUT, True),
        (0, End.CALLER_LEFT, True),
    ],
)
def test_errors_and_losses_are_kept_whatever_the_share(status: int, end: End, kept: bool) -> None:
    assert is_kept(trace(status=status, end=end), 0.0) is kept
    assert is_kept(trace(status=status, end=end), 1.0)


def test_a_share_is_taken_by_the_requests_id() -> None:
    assert is_kept(trace(first="7fffffff"), 0.5) and not is_kept(trace(first="80000000"), 0.5)


def test_the_share_comes_from_the_hosts_environment() -> None:
    assert sample_share({}) == 1.0 and sample_share({"TICKOVER_ACCESS_SAMPLE": " 0.25 "}) == 0.25
    for wrong in ("-0.1", "1.5", "nan", "all"):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            sample_share({"TICKOVER_ACCESS_SAMPLE": wrong})


def test_the_queue_is_bounded_and_the_log_tells_what_is_missing(tmp_path: Path) -> None:
    file = AccessFile(tmp_path / "access.log", max_pending=3)
    for _ in range(8):
        file.put(trace())
    asyncio.run(file.close())
    asyncio.run(file.close())  # told once
    lines = [json.loads(text) for text in (tmp_path / "access.log").read_text().splitlines()]
    assert len(lines) == 4 and lines[3]["dropped"] == 5 and file.dropped == 5
    assert (tmp_path / "access.log").stat().st_mode & 0o777 == 0o600


def test_a_full_file_is_moved_and_only_so_many_are_kept(tmp_path: Path) -> None:
    file = AccessFile(tmp_path / "access.log", max_bytes=10, older=2)
    for text in ("first\n", "second\n", "third\n", "fourth\n"):
        file.write(text)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"access.log": "fourth\n", "access.log.1": "third\n", "access.log.2": "second\n"}


def test_what_cannot_be_written_is_counted_and_told_later(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    file = AccessFile(folder / "access.log")
    file.put(trace())
    asyncio.run(file.close())
    assert file.dropped == 1
    folder.mkdir()
    file.put(trace())
    asyncio.run(file.close())
    assert json.loads((folder / "access.log").read_text().splitlines()[1])["dropped"] == 1


class Declared(set[tuple[str, str]]):
    def __call__(self, function: str, qualifier: str) -> bool:
        return (function, qualifier) in self


def test_requests_are_counted_by_bucket_class_and_function() -> None:
    registry = CollectorRegistry()
    stats = RequestStats(Declared({("chat", "LATEST")}), lambda: 7)
    registry.register(stats)
    woken = trace()
    woken.granted(Lease("i", "chat", "LATEST", "0", "", 1, woke=True, waited_ns=10 * MS))
    woken.sent(1, 11 * MS)
    stats.observe(woken)
    stats.observe(trace(status=502, end=End.BROKEN))
    stats.observe(trace(status=0, end=End.CALLER_LEFT))
    chat = {"function": "chat", "qualifier": "LATEST"}

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"tickover_{name}", {**chat, **more})

    assert value("request_wait_seconds_bucket", le="0.01") == 1  # a bound belongs to its bucket
    assert value("request_wait_seconds_bucket", le="0.005") == 0
    assert value("request_wake_seconds_sum") == pytest.approx(0.01)
    assert value("request_first_byte_seconds_sum") == pytest.approx(0.006)
    assert value("request_seconds_count") == 3 and value("request_seconds_sum") == pytest.approx(0.06)
    assert value("request_seconds_bucket", le="+Inf") == 3
    assert [value("requests_total", status=s) for s in ("2xx", "5xx", "none", "4xx")] == [1, 1, 1, None]
    assert registry.get_sample_value("tickover_access_dropped_total") == 7


def test_labels_are_bounded_and_a_deleted_function_loses_its_series() -> None:
    registry = CollectorRegistry()
    declared = Declared({("chat", "LATEST")})
    stats = RequestStats(declared, lambda: 0)
    registry.register(stats)
    for name in ("chat", "", *(f"guess-{n}" for n in range(50))):
        stats.observe(trace(name, status=404))

    def functions() -> dict[str, float]:
        found = [
            s for family in registry.collect() for s in family.samples if s.name.endswith("requests_total")
        ]
        return {s.labels["function"]: s.value for s in found}

    assert functions() == {"chat": 1, "host": 1, "unknown": 50}
    declared.clear()
    assert functions() == {"host": 1, "unknown": 50}
