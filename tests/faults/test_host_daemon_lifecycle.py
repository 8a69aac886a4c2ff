"""The host as a background process: start, stop, and all that can go wrong with either."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tickover.errors import Exit, TickoverError
from tickover.host.client import AdminClient
from tickover.host.daemon import host_status, start_host, stop_host


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data home; whatever the test leaves running is stopped."""
    place = tmp_path / "home"
    (place / "host").mkdir(parents=True)
    (place / "host" / "port").write_text(f"{free_port()}\n")
    yield place
    if (place / "host").is_dir():
        stop_host(place)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_start_status_and_stop(home: Path) -> None:
    info = start_host(home)
    assert not info.already_running
    assert host_status(home) is not None
    status = AdminClient(home).status()
    assert (status["pid"], status["url"], status["functions"]) == (info.pid, info.url, [])
    again = start_host(home)
    assert (again.pid, again.already_running) == (info.pid, True)
    assert os.getsid(info.pid) == info.pid
    secrets = home / "host" / "credentials.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    before = secrets.read_text()
    assert stop_host(home)
    assert is_gone(info.pid)
    assert host_status(home) is None
    assert not (home / "host" / "host.json").exists()
    assert not stop_host(home)
    second = start_host(home)
    assert second.url == info.url
    assert secrets.read_text() == before


def test_admin_calls_without_host_say_how_to_start_it(home: Path) -> None:
    with pytest.raises(TickoverError) as caught:
        AdminClient(home).status()
    assert caught.value.hint == "tickover host start"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_ends(home: Path, number: int) -> None:
    info = start_host(home)
    os.kill(info.pid, number)
    end = time.monotonic() + 10
    while not is_gone(info.pid):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not (home / "host" / "host.json").exists()


def test_host_killed_hard_is_noticed_and_started_again(home: Path) -> None:
    info = start_host(home)
    os.kill(info.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while host_status(home) is not None:
        assert time.monotonic() < end
        time.sleep(0.02)
    with pytest.raises(TickoverError) as caught:
        AdminClient(home).status()
    assert caught.value.code == "host-not-running"
    second = start_host(home)
    assert second.pid != info.pid
    assert second.url == info.url


def test_starts_at_the_same_moment_give_one_host(home: Path) -> None:
    with ThreadPoolExecutor(3) as workers:
        found = list(workers.map(lambda _: start_host(home), range(3)))
    assert len({info.pid for info in found}) == 1


def test_explicit_port_that_is_taken_names_its_holder(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(TickoverError) as caught:
            start_host(home, port)
    assert caught.value.code == "port-taken"
    assert f"process {os.getpid()} " in caught.value.detail
    assert "--port" in caught.value.hint
    assert host_status(home) is None


def test_remembered_port_that_is_taken_is_replaced_for_good(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (home / "host" / "port").write_text(f"{port}\n")
        info = start_host(home)
        assert not info.url.endswith(f":{port}")
        assert f"port {port} is taken" in info.note
    stop_host(home)
    again = start_host(home)
    assert (again.url, again.note) == (info.url, "")


def test_outside_address_needs_a_flag(home: Path) -> None:
    with pytest.raises(TickoverError) as caught:
        start_host(home, listen_host="0.0.0.0")
    assert caught.value.exit_code == Exit.CONFIGURATION
    assert "--allow-remote" in caught.value.hint
    assert start_host(home, listen_host="0.0.0.0", allow_remote=True).url.startswith("http://127.0.0.1:")


def test_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "host").write_text("a file where a folder belongs")
    with pytest.raises(TickoverError) as caught:
        start_host(tmp_path)
    assert caught.value.code == "data-dir-unwritable"
    assert caught.value.exit_code == Exit.RESOURCE
    assert (tmp_path / "host").read_text() == "a file where a folder belongs"


def test_broken_database_is_told_and_left_alone(home: Path) -> None:
    garbage = b"this is no database" * 500
    (home / "host" / "host.db").write_bytes(garbage)
    with pytest.raises(TickoverError) as caught:
        start_host(home)
    assert caught.value.code == "host-db-broken"
    assert caught.value.exit_code == Exit.RESOURCE
    assert (home / "host" / "host.db").read_bytes() == garbage
    assert host_status(home) is None


def test_broken_credentials_are_told_and_not_shown(home: Path) -> None:
    (home / "host" / "credentials.json").write_text('{"access_key_secret": "do-not-show"')
    with pytest.raises(TickoverError) as caught:
        start_host(home)
    assert caught.value.code == "credentials-broken"
    assert "do-not-show" not in str(caught.value)


def test_child_that_dies_shows_the_end_of_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.host.daemon.sys.executable", "/bin/false")
    with pytest.raises(TickoverError) as caught:
        start_host(home)
    assert caught.value.code == "host-not-started"
    assert "ended with code 1" in caught.value.detail
