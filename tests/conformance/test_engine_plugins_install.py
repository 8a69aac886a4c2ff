"""Plugins into the cache and out of it, from an HTTP server on loopback."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import io
import json
import socket
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tickover.commands import plugins as command
from tickover.commands.session import Session
from tickover.engine.packages import PackageSpec
from tickover.engine.plugins import install as cache
from tickover.engine.plugins.install import install, installed
from tickover.engine.plugins.origins import asset_name, this_platform
from tickover.errors import ConfigError, TickoverError

BINARY = "pulumi-resource-random"


def tarball(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size, info.mode = len(member[1]), 0o755
            archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


GOOD = tarball((BINARY, b"#!/bin/sh\necho 1\n"), ("README.md", b"x"))


class Shop:
    """What the server has, by path, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.has: dict[str, bytes | int] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def put(self, version: str, body: bytes | int = GOOD, name: str = "random") -> None:
        self.has["/" + asset_name(name, version, this_platform())] = body


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.path, dict(self.headers)))
            body = made.has.get(self.path, 404)
            status, data = (body, b"") if isinstance(body, int) else (200, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"PULUMI_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}


def listing(env: dict[str, str]) -> list[str]:
    return sorted(p.name for p in (Path(env["PULUMI_HOME"]) / "plugins").iterdir())


def test_a_download_has_the_layout_of_pulumis_cache(shop: Shop, env: dict[str, str]) -> None:
    shop.put("4.16.7")
    seen: list[tuple[int, int]] = []
    done = install(
        PackageSpec("random", "v4.16.7", shop.url), env, progress=lambda d, total: seen.append((d, total))
    )
    assert done.path == Path(env["PULUMI_HOME"]) / "plugins" / "resource-random-v4.16.7"
    binary = done.path / BINARY
    assert binary.read_bytes() == b"#!/bin/sh\necho 1\n"
    assert binary.stat().st_mode & stat.S_IXUSR
    assert listing(env) == ["resource-random-v4.16.7", "resource-random-v4.16.7.lock"]
    assert seen[-1] == (len(GOOD), len(GOOD))
    again = install(PackageSpec("random", "4.16.7", shop.url), env)
    assert not again.is_new
    assert len(shop.asked) == 1


@pytest.mark.parametrize("how", ["argument", "package"])
@pytest.mark.parametrize("is_right", [True, False])
def test_the_checksum_decides(shop: Shop, env: dict[str, str], how: str, is_right: bool) -> None:
    shop.put("1.0.0")
    digest = hashlib.sha256(GOOD if is_right else b"other")
    sums = {this_platform().key: digest.digest()} if how == "package" else {}
    given = digest.hexdigest().upper() if how == "argument" else ""
    spec = PackageSpec("random", "1.0.0", shop.url, checksums=sums)
    if is_right:
        assert install(spec, env, checksum=given).is_new
        return
    with pytest.raises(TickoverError, match="Nothing was installed") as caught:
        install(spec, env, checksum=given)
    assert caught.value.code == "plugin-checksum"
    assert listing(env) == []


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


@pytest.mark.parametrize(
    "body",
    [
        tarball(("../outside", b"x"), (BINARY, b"x")),
        tarball(("/etc/outside", b"x")),
        tarball(link("out", "/etc"), ("out/outside", b"x")),
        tarball(link("out", "../../.."), ("out/outside", b"x")),
        tarball(("README.md", b"only this")),
        GOOD[:-40],
        b"<html>not found</html>",
        b"",
    ],
    ids=["up", "absolute", "link", "relative-link", "no-plugin", "cut", "html", "empty"],
)
def test_archives_that_are_refused_leave_nothing(
    shop: Shop, env: dict[str, str], tmp_path: Path, body: bytes
) -> None:
    shop.put("1.0.0", body)
    before = sorted(tmp_path.rglob("outside"))
    with pytest.raises(TickoverError) as caught:
        install(PackageSpec("random", "1.0.0", shop.url), env)
    assert caught.value.code == "plugin-bad-archive"
    assert [n for n in listing(env) if not n.endswith(".lock")] == []
    assert sorted(tmp_path.rglob("outside")) == before == []
    assert not Path("/etc/outside").exists()


def test_a_bad_archive_does_not_cost_the_plugin_that_is_there(shop: Shop, env: dict[str, str]) -> None:
    shop.put("1.0.0")
    spec = PackageSpec("random", "1.0.0", shop.url)
    path = install(spec, env).path
    shop.put("1.0.0", GOOD[:-40])
    with pytest.raises(TickoverError):
        install(spec, env, reinstall=True)
    assert (path / BINARY).exists()
    assert [p.name for p in installed(env)] == ["random"]
    shop.put("1.0.0", tarball((BINARY, b"second")))
    assert install(spec, env, reinstall=True).is_new
    assert (path / BINARY).read_bytes() == b"second"


def test_what_an_interrupted_installer_left_is_replaced(shop: Shop, env: dict[str, str]) -> None:
    home = Path(env["PULUMI_HOME"]) / "plugins"
    (home / "resource-random-v1.0.0").mkdir(parents=True)
    (home / "resource-random-v1.0.0.partial").touch()
    assert installed(env) == []
    shop.put("1.0.0")
    assert install(PackageSpec("random", "1.0.0", shop.url), env).is_new
    assert [str(p.version) for p in installed(env)] == ["1.0.0"]


def test_installers_take_turns(shop: Shop, env: dict[str, str]) -> None:
    shop.put("1.0.0")
    home = Path(env["PULUMI_HOME"]) / "plugins"
    home.mkdir(parents=True)
    done = threading.Event()

    def second() -> None:
        install(PackageSpec("random", "1.0.0", shop.url), env)
        done.set()

    with (home / "resource-random-v1.0.0.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        assert not done.wait(0.5)  # long enough for a download from loopback
        assert installed(env) == []
        fcntl.flock(lock, fcntl.LOCK_UN)
    thread.join(20)
    assert done.is_set()
    assert len(installed(env)) == 1


def test_a_server_without_it_is_named(shop: Shop, env: dict[str, str]) -> None:
    with pytest.raises(TickoverError) as caught:
        install(PackageSpec("random", "9.9.9", shop.url), env)
    error = caught.value
    assert error.code == "plugin-not-downloaded"
    assert f"{shop.url}/{asset_name('random', '9.9.9', this_platform())}: HTTP 404" in error.detail
    assert "no network" not in error.detail
    assert error.hint == "tickover plugin install resource random 9.9.9 --file TARBALL"


def test_a_server_with_a_passing_trouble_is_asked_again(shop: Shop, env: dict[str, str]) -> None:
    shop.put("1.0.0", 503)
    with pytest.raises(TickoverError):
        install(PackageSpec("random", "1.0.0", shop.url), env)
    assert len(shop.asked) == 4


def test_no_network_is_told_as_such(env: dict[str, str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TickoverError, match="There seems to be no network here") as caught:
            install(PackageSpec("random", "1.0.0", url), env)
    assert "no connection" in caught.value.detail


def test_a_release_at_a_forge_names_the_tarball(
    shop: Shop, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tickover.engine.plugins.origins import Form, Origin

    release = Origin(f"{shop.url}/release", Form.RELEASE, "GITHUB_TOKEN")
    monkeypatch.setattr(cache, "origins", lambda *_: (release,))
    monkeypatch.setattr(cache, "newest_release", lambda *_: release)
    asset = asset_name("random", "2.0.0", this_platform())
    document = {"tag_name": "v2.0.0", "assets": [{"name": asset, "url": f"{shop.url}/asset/7"}]}
    shop.has["/release"] = json.dumps(document).encode()
    shop.has["/asset/7"] = GOOD
    done = install(PackageSpec("random"), {**env, "GITHUB_TOKEN": "t0ken"})
    assert done.version == "2.0.0"
    assert [path for path, _ in shop.asked] == ["/release", "/release", "/asset/7"]
    assert all(headers["Authorization"] == "Bearer t0ken" for _, headers in shop.asked)
    shop.has["/release"] = b'{"tag_name": "v2.0.1", "assets": []}'
    with pytest.raises(TickoverError, match="the release has no"):
        install(PackageSpec("random"), env)


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden"])
def test_names_that_are_paths_are_refused(env: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError, match="no name of a plugin"):
        install(PackageSpec(name, "1.0.0"), env)


@pytest.mark.parametrize("version", ["../1", "one", "1.2.3/.."])
def test_versions_that_are_none_are_refused(env: dict[str, str], version: str) -> None:
    with pytest.raises(ConfigError, match="no version of a plugin"):
        install(PackageSpec("random", version), env)


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "home").write_text("a file", "utf-8")
    with pytest.raises(TickoverError) as caught:
        install(PackageSpec("random", "1.0.0", "http://127.0.0.1:9"), env)
    assert caught.value.code == "plugin-not-installed"


# --- the commands ------------------------------------------------------------------------------------


def test_install_list_and_remove_at_the_command_line(
    shop: Shop, env: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(env=env, cwd=tmp_path)
    shop.put("1.0.0")
    shop.put("1.2.0")
    assert command.install(session, ["resource", "random", "v1.0.0"], server=shop.url) == 0
    assert command.install(session, ["random@1.2.0"], server=shop.url) == 0
    captured = capsys.readouterr()
    assert "random 1.0.0 is installed in" in captured.out
    assert captured.err == "Downloading random (0.0 MiB)\n" * 2
    assert command.ls(session) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        ["NAME", "KIND", "VERSION"],
        ["random", "resource", "1.0.0"],
        ["random", "resource", "1.2.0"],
    ]
    assert command.ls(session, as_json=True) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["name"], first["version"], first["size"]) == ("random", "1.0.0", 18)
    with pytest.raises(ConfigError) as caught:
        command.rm(session, ["random", "1.0.0"])
    assert caught.value.code == "no-confirmation"
    assert command.rm(session, ["random", "1.0"], yes=True) == 0
    assert listing(env) == ["resource-random-v1.2.0", "resource-random-v1.2.0.lock"]
    assert command.rm(session, [], every=True, yes=True) == 0
    assert listing(env) == []
    assert "1 plugin removed." in capsys.readouterr().out
    assert command.ls(session) == 0
    assert capsys.readouterr().out == "No plugin is installed.\n"


def test_a_tarball_from_elsewhere(tmp_path: Path, env: dict[str, str]) -> None:
    file = tmp_path / "fetched.tar.gz"
    file.write_bytes(GOOD)
    session = Session(env=env, cwd=tmp_path)
    with pytest.raises(ConfigError, match="A tarball does not say its version"):
        command.install(session, ["random"], file=file)
    assert command.install(session, ["random", "1.0.0"], file=file) == 0
    assert [str(p.version) for p in installed(env)] == ["1.0.0"]


@pytest.mark.parametrize("words", [[], ["a", "b", "c"], ["resource", "a", "b", "c"]])
def test_words_that_name_no_plugin(tmp_path: Path, env: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        command.install(Session(env=env, cwd=tmp_path), words)
    assert caught.value.code == "bad-plugin-words"


def test_removing_what_is_not_there(tmp_path: Path, env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"The cache has no random 1\.0\.0"):
        command.rm(Session(env=env, cwd=tmp_path), ["random", "1.0.0"], yes=True)
