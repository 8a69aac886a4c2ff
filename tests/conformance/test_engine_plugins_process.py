"""A plugin's process: what is read from it, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugin_judge import ROOT, judge, recorded, script
from tests.support.plugin_open import Said, environment, plugins
from tickover.engine.packages import PackageSpec, Parameterization
from tickover.engine.provider import ConfigureRequest, Severity
from tickover.errors import TickoverError

JUDGE = PackageSpec("judge")


def opening(folder: Path, body: str, *, port_seconds: float = 30.0) -> TickoverError:
    """The error of opening a plugin whose program is body."""
    script(folder / "bin", body)

    async def go() -> None:
        source = plugins(folder, environment(folder), ("judge", folder / "bin"), port_seconds=port_seconds)
        try:
            await source.open(JUDGE, Said())
        finally:
            await source.close()

    with pytest.raises(TickoverError) as caught:
        asyncio.run(go())
    assert caught.value.code == "plugin-failed"
    return caught.value


@pytest.mark.parametrize("line", ["hello", "0", "65536", "12 34", "-5", "٣٤٥"])
def test_a_first_line_that_is_no_port(tmp_path: Path, line: str) -> None:
    error = opening(tmp_path, f"import sys; sys.stderr.write('told\\n'); sys.stderr.flush(); print({line!r})")
    assert f"must be its port, not {line!r}" in error.detail


def test_gigabytes_instead_of_a_port_do_not_fill_the_memory(tmp_path: Path) -> None:
    body = "import os\nwhile True:\n    os.write(1, b'x' * 65536)"
    error = opening(tmp_path, body)
    assert len(error.detail) < 2000


def test_a_port_that_never_comes(tmp_path: Path) -> None:
    body = (
        "import sys, time\nsys.stderr.write('still loading\\n')\nsys.stderr.flush()\n"
        f"open({str(tmp_path / 'up')!r}, 'w')\ntime.sleep(600)"
    )
    error = opening(tmp_path, body, port_seconds=1.0)
    assert "It said no port within 1 s." in error.detail
    assert "still loading" in error.detail


def test_a_plugin_that_ends_at_once_says_why(tmp_path: Path) -> None:
    error = opening(tmp_path, "import sys\nsys.exit('no licence found')")
    assert "Its exit code was 1." in error.detail
    assert "no licence found" in error.detail
    assert error.detail.count("no licence found") == 1


def test_a_plugin_that_cannot_be_run(tmp_path: Path) -> None:
    path = script(tmp_path / "bin", "")
    path.write_text("#!/nonexistent/interpreter\n", "utf-8")

    async def go() -> None:
        source = plugins(tmp_path, environment(tmp_path), ("judge", path))
        try:
            await source.open(JUDGE, Said())
        finally:
            await source.close()

    with pytest.raises(TickoverError, match="cannot be run"):
        asyncio.run(go())


def test_a_port_on_which_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.engine.plugins.connection.Connection.ready.__defaults__", (0.3,))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = opening(tmp_path, f"import time\nprint({port}, flush=True)\ntime.sleep(600)")
    assert f"does not answer on port {port}" in error.detail


def test_what_a_plugin_prints_later_is_kept_from_people_and_from_blocking(tmp_path: Path) -> None:
    body = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.support import plugin_judge\n"
        "server, port = plugin_judge.serve()\n"
        "print(port, flush=True)\n"
        "print('x' * 200_000)\n"
        "print('loaded the tables', flush=True)\n"
        "sys.stderr.write('warming up\\n')\n"
        "server.wait_for_termination()"
    )
    script(tmp_path / "bin", body)
    said = Said()

    async def go() -> None:
        source = plugins(tmp_path, environment(tmp_path), ("judge", tmp_path / "bin"))
        provider = await source.open(JUDGE, said)
        await said.until("loaded the tables")
        await said.until("warming up")
        assert provider.version == "1.2.3"
        await source.close()

    asyncio.run(go())
    assert {severity for severity, *_ in said.lines} == {Severity.DEBUG}


def is_gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


STUBBORN = """
import os, signal, subprocess, sys
sys.path.insert(0, {root!r})
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
from tests.support import plugin_judge
server, port = plugin_judge.serve()
open({pids!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
print(port, flush=True)
server.wait_for_termination()
"""


def test_a_plugin_that_will_not_end_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickover.engine.plugins.process.PluginProcess.stop.__defaults__", (0.4,))
    script(tmp_path / "bin", STUBBORN.format(root=str(ROOT), pids=str(tmp_path / "pids")))

    async def go() -> None:
        source = plugins(tmp_path, environment(tmp_path), ("judge", tmp_path / "bin"))
        await source.open(JUDGE, Said())
        await source.close()

    asyncio.run(go())
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        wait_until(lambda pid=pid: is_gone(pid))


ENGINE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.plugin_open import Said, environment, plugins
from tickover.engine.packages import PackageSpec

async def go():
    folder = Path({folder!r})
    source = plugins(folder, environment(folder), ("judge", folder / "bin"))
    await source.open(PackageSpec("judge"), Said())
    print("open", flush=True)
    await asyncio.sleep(600)

asyncio.run(go())
"""


def test_a_killed_engine_leaves_no_plugin_behind(tmp_path: Path) -> None:
    script(tmp_path / "bin", STUBBORN.format(root=str(ROOT), pids=str(tmp_path / "pids")))
    program = ENGINE.format(root=str(ROOT), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "open\n"
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert not any(is_gone(pid) for pid in pids)
        os.kill(engine.pid, signal.SIGKILL)
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid))


def test_ctrl_c_is_not_the_plugins_to_answer(tmp_path: Path) -> None:
    script(tmp_path / "bin", STUBBORN.format(root=str(ROOT), pids=str(tmp_path / "pids")))

    async def go() -> None:
        source = plugins(tmp_path, environment(tmp_path), ("judge", tmp_path / "bin"))
        await source.open(JUDGE, Said())
        plugin = int((tmp_path / "pids").read_text().split()[0])
        assert os.getpgid(plugin) == plugin != os.getpgid(0)
        os.killpg(plugin, signal.SIGKILL)
        await source.close()

    asyncio.run(go())


def test_the_project_in_the_plugins_environment(tmp_path: Path) -> None:
    keys = ("PULUMI_PROJECT", "PULUMI_CONFIG", "PULUMI_RUNTIME_VIRTUALENV", "PULUMI_RUNTIME_SHARED")
    body = (
        "import json, os, sys\n"
        f"print(json.dumps([[os.environ.get(k) for k in {keys!r}], os.getcwd(), sys.argv[1:]]),"
        " file=sys.stderr)\n"
        "sys.exit(3)"
    )
    script(tmp_path / "bin", body)

    async def go() -> None:
        source = plugins(
            tmp_path,
            environment(tmp_path),
            ("judge", tmp_path / "bin"),
            project="shop",
            runtime_options={"virtualenv": ".venv", "shared": True},
            config='{"shop:a":"1"}',
            engine_address="127.0.0.1:9",
        )
        try:
            await source.open(JUDGE, Said())
        finally:
            await source.close()

    with pytest.raises(TickoverError) as caught:
        asyncio.run(go())
    assert '[["shop", "{\\"shop:a\\":\\"1\\"}", ".venv", "true"]' in caught.value.detail
    assert f'"{tmp_path}", ["127.0.0.1:9"]' in caught.value.detail


def test_plugins_run_where_the_program_is(tmp_path: Path) -> None:
    script(tmp_path / "bin", "import os, sys\nsys.exit(os.getcwd())")
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "main.py").touch()

    async def go(program: Path) -> str:
        source = plugins(tmp_path, environment(tmp_path), ("judge", tmp_path / "bin"), program=program)
        with pytest.raises(TickoverError) as caught:
            await source.open(JUDGE, Said())
        await source.close()
        return caught.value.detail

    for program in ("infra", "infra/main.py"):
        assert asyncio.run(go(tmp_path / program)).endswith(f"\n  {tmp_path}/infra")


def test_a_cached_plugin_is_marked_as_used(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "plugins" / "resource-judge-v1.2.3"
    judge(folder)

    async def go() -> None:
        source = plugins(tmp_path, environment(tmp_path))
        await source.open(PackageSpec("judge", "1.2.3"), Said())
        await source.close()

    asyncio.run(go())
    assert folder.with_name(f"{folder.name}.lastused").exists()


def test_every_provider_has_a_process_of_its_own(tmp_path: Path) -> None:
    judge(tmp_path / "path")

    async def go() -> tuple[int, int, list[str]]:
        source, said = plugins(tmp_path, environment(tmp_path)), Said()
        one, two = await asyncio.gather(source.open(JUDGE, said), source.open(JUDGE, said))
        await one.configure(ConfigureRequest({"region": "here"}))
        processes = [p._connection.process.pid for p in (one, two)]
        await source.close()
        return *processes, said.messages(Severity.WARNING)

    first, second, warnings = asyncio.run(go())
    assert first != second
    assert is_gone(first) and is_gone(second)
    assert warnings == [f"using pulumi-resource-judge from $PATH at {tmp_path}/path/pulumi-resource-judge"]
    record = recorded(tmp_path / "record.jsonl", "Cancel")
    assert len(record) == 2


def test_a_provider_that_runs_already_is_attached_to_and_left_running(tmp_path: Path) -> None:
    env = environment(tmp_path)
    path = judge(tmp_path / "elsewhere")
    with subprocess.Popen(
        [str(path), ""], stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
    ) as running:
        assert running.stdout is not None
        port = running.stdout.readline().strip()

        async def go() -> None:
            source = plugins(tmp_path, {**env, "PULUMI_DEBUG_PROVIDERS": f"other:1,judge:{port}"})
            provider = await source.open(JUDGE, Said())
            await provider.configure(ConfigureRequest({}))
            await source.close()

        asyncio.run(go())
        assert running.poll() is None
        running.terminate()
        assert running.wait() == 0
    [attach] = recorded(tmp_path / "record.jsonl", "Attach")
    assert attach["address"].startswith("127.0.0.1:")
    assert recorded(tmp_path / "record.jsonl", "Cancel") == []


def test_a_generic_plugin_becomes_another_package(tmp_path: Path) -> None:
    judge(tmp_path / "bin")
    spec = PackageSpec("judge", parameterization=Parameterization("pets", "2.0.0", b"\x00schema"))

    async def go() -> None:
        source = plugins(tmp_path, environment(tmp_path), ("judge", tmp_path / "bin"))
        provider = await source.open(spec, Said())
        await provider.configure(ConfigureRequest({"kind": "cat"}))
        await source.close()

    asyncio.run(go())
    [parameterize] = recorded(tmp_path / "record.jsonl", "Parameterize")
    assert parameterize["value"] == {"name": "pets", "version": "2.0.0", "value": "AHNjaGVtYQ=="}
    [configure] = recorded(tmp_path / "record.jsonl", "Configure")
    assert configure["variables"] == {"pets:config:kind": "cat"}


def test_a_plugin_that_is_nowhere_names_every_place(tmp_path: Path) -> None:
    source = plugins(tmp_path, environment(tmp_path))
    spec = PackageSpec("random", "4.16.7", "github://example.org/acme")
    assert not source.finds(spec)
    with pytest.raises(TickoverError) as caught:
        asyncio.run(source.open(spec, Said()))
    error = caught.value
    assert (error.code, error.address) == ("plugin-missing", "random")
    for place in ("Pulumi.yaml", "PATH", str(Path(sys.executable).parent), str(tmp_path / "home/plugins")):
        assert place in error.detail
    assert error.hint == "tickover plugin install resource random 4.16.7 --server github://example.org/acme"
