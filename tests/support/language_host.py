"""A LanguageRuntime for Python programs, policy packs and component plugins under the real Pulumi CLI.

Owns: one gRPC server, started by the CLI as `pulumi-language-python ENGINE_ADDRESS`; it stands in for the
host that Pulumi ships as a binary. Promises: a program runs in a process of its own, with the arguments and
environment that Pulumi's host gives it; no process outlives the call that started it. Never: imports the SDK
(only its protocol modules: that keeps the start under half a second), installs or generates anything.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# The protocol modules lie inside packages whose __init__ imports the whole SDK; empty stand-ins avoid that.
_SDK = Path(sysconfig.get_paths()["purelib"]) / "pulumi"
for _name, _folder in (("pulumi", _SDK), ("pulumi.runtime", _SDK / "runtime")):
    _module = types.ModuleType(_name)
    _module.__path__ = [str(_folder)]
    sys.modules[_name] = _module

import grpc  # noqa: E402
from google.protobuf.empty_pb2 import Empty  # noqa: E402
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2  # noqa: E402

EXEC = Path(__file__).with_name("language_host_exec.py")
ALREADY_TOLD = 32  # the program's exit code when its error has been logged
LIMIT = 400 * 1024 * 1024
TO_PLUGIN = 5.0  # seconds that a plugin has to end by itself


def interpreter(root: str, options: dict[str, Any]) -> str:
    """The Python that the runtime option `virtualenv` names, or this one."""
    virtualenv = options.get("virtualenv")
    if not virtualenv:
        return sys.executable
    python = Path(root, str(virtualenv), "bin", "python")
    return str(python) if python.exists() else sys.executable


def options_of(info: Any) -> dict[str, Any]:
    """The runtime options, as plain values."""
    return {key: _plain(value) for key, value in info.options.fields.items()}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    return getattr(value, kind) if kind in ("string_value", "bool_value", "number_value") else None


def program_command(request: Any, engine: str) -> list[str]:
    """How a program is started; flags without a value are left out."""
    flags = {
        "monitor": request.monitor_address,
        "engine": engine,
        "project": request.project,
        "root_directory": request.info.root_directory,
        "stack": request.stack,
        "pwd": request.pwd,
        "dry_run": "true" if request.dryRun else "false",
        "parallel": str(request.parallel),
        "organization": request.organization,
    }
    words = [word for name, value in flags.items() if value for word in (f"--{name}", value)]
    entry = os.path.normpath(os.path.join(request.info.program_directory, request.info.entry_point or "."))
    python = interpreter(request.info.root_directory, options_of(request.info))
    return [python, "-u", str(EXEC), *words, entry, *request.args]


def plugin_command(request: Any) -> list[str]:
    """How a plugin folder is started, by its kind and by what lies in it."""
    folder = request.info.program_directory
    own = dict(options_of(request.info))
    own.setdefault("virtualenv", "venv")
    python = interpreter(folder, own)
    if request.kind == "analyzer":
        return [python, "-u", "-m", "pulumi.policy", *request.args, folder]
    if Path(folder, "__main__.py").exists():
        return [python, "-u", folder, *request.args]
    return [python, "-u", "-m", "pulumi.run.plugin", request.name or Path(folder).name, *request.args]


class LanguageRuntime(language_pb2_grpc.LanguageRuntimeServicer):
    """The service. engine: address of the CLI that started it."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self._processes: set[subprocess.Popen[Any]] = set()

    def Handshake(self, request: Any, context: Any) -> Any:
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="3.259.0")

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPackagesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        return language_pb2.RuntimeOptionsResponse()

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        yield language_pb2.InstallDependenciesResponse(stdout=b"Nothing is installed.\n")

    def About(self, request: Any, context: Any) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def Cancel(self, request: Any, context: Any) -> Any:
        self.end_all()
        return Empty()

    def Run(self, request: Any, context: Any) -> Any:
        env = os.environ | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        program = subprocess.Popen(program_command(request, self.engine), cwd=request.pwd, env=env)
        self._processes.add(program)
        context.add_callback(lambda: self._end(program))
        code = program.wait()
        self._processes.discard(program)
        if code == 0:
            return language_pb2.RunResponse()
        if code == ALREADY_TOLD:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"Program exited with non-zero exit code: {code}")

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        env = os.environ | dict(entry.split("=", 1) for entry in request.env)
        pipe = subprocess.PIPE
        plugin = subprocess.Popen(
            plugin_command(request), cwd=request.pwd or None, env=env, stdout=pipe, stderr=pipe
        )
        self._processes.add(plugin)
        context.add_callback(lambda: self._end(plugin))
        said: queue.Queue[dict[str, bytes] | None] = queue.Queue()

        def pump(stream: Any, name: str) -> None:
            while chunk := stream.read1(65536):
                said.put({name: chunk})
            said.put(None)

        for stream, name in ((plugin.stdout, "stdout"), (plugin.stderr, "stderr")):
            threading.Thread(target=pump, args=(stream, name), daemon=True).start()
        open_streams = 2
        while open_streams:
            chunk = said.get()
            if chunk is None:
                open_streams -= 1
            else:
                yield language_pb2.RunPluginResponse(**chunk)
        code = plugin.wait()
        self._processes.discard(plugin)
        yield language_pb2.RunPluginResponse(exitcode=code)

    def end_all(self) -> None:
        """End what still runs."""
        for process in tuple(self._processes):
            self._end(process)

    def _end(self, process: subprocess.Popen[Any]) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(TO_PLUGIN)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> int:
    """Serve until told to stop."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if not words:
        print("error: name the engine's address", file=sys.stderr)
        return 2
    runtime = LanguageRuntime(words[-1])
    limits = [("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT)]
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=limits)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(runtime, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stop, parent = threading.Event(), os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(port, flush=True)
    while not stop.wait(1.0):
        if os.getppid() != parent:  # the CLI ended without a word
            break
    runtime.end_all()
    server.stop(0)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    code = main()
    # Worker threads of a call under way would hold the exit up until the CLI loses patience.
    os._exit(code)
