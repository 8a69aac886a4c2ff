"""One policy pack: a child process that speaks Pulumi's analyzer protocol.

Owns: starting it, its port, the calls, ending it. Promises: the process ends with `Pack.close`, and with
this process however that ends; a pack that cannot start or that breaks is a `TickoverError` with the end
of what it said. Never: knows what a property value means.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import yaml
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from tickover.engine.plan import PolicyViolation
from tickover.engine.policyconfig import DeclaredPolicy, PolicySetting
from tickover.errors import TickoverError

PACK_FILE: Final = "PulumiPolicy.yaml"
ORGANIZATION: Final = "organization"  # what Pulumi's file back end calls the one it has

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 600.0
_TAIL_LINES: Final = 20
_LINE_CHARS: Final = 2000
_CHUNK_BYTES: Final = 65536
_MAX_MESSAGE_BYTES: Final = 400 * 1024 * 1024
_CHANNEL_OPTIONS: Final = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
]
_LEVEL_NAMES: Final = {
    analyzer_pb2.ADVISORY: "advisory",
    analyzer_pb2.MANDATORY: "mandatory",
    analyzer_pb2.DISABLED: "disabled",
    analyzer_pb2.REMEDIATE: "remediate",
}
_LEVEL_NUMBERS: Final = {name: number for number, name in _LEVEL_NAMES.items()}
# What a violation at the level remediate comes to: the remedy has run, and something is still wrong.
_VIOLATION_LEVELS: Final = {**_LEVEL_NAMES, analyzer_pb2.REMEDIATE: "mandatory"}

# The launcher wants one, and a pack never calls it.
_ENGINE_ADDRESS: Final = "127.0.0.1:0"
# The pack's launcher, plus a thread that ends the process when our end of its stdin closes: a pack
# serves for ever, and must not do so after a killed engine.
_LAUNCH: Final = """
import os, runpy, sys, threading
def watch():
    while os.read(0, 4096):
        pass
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module("pulumi.policy", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class PackRun:
    """What a pack is told of the stack. on_line: pack and printed line."""

    project: str
    stack: str
    dry_run: bool
    config: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets are in it
    organization: str = ORGANIZATION
    secret_keys: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    on_line: Callable[[str, str], None] | None = None
    answer_seconds: float = ANSWER_SECONDS


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What to run and where. version: what PulumiPolicy.yaml says, which overrides what the pack says."""

    folder: Path
    program: str
    version: str
    command: tuple[str, ...]
    cwd: Path


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a policy did to inputs; violation: instead, why it could not judge them."""

    pack: str
    pack_version: str
    policy: str
    description: str
    properties: Struct
    violation: PolicyViolation | None = None


class Pack:
    """A running pack. Made by `open_pack`, ended by `close`."""

    def __init__(self, manifest: _Manifest, process: asyncio.subprocess.Process, run: PackRun) -> None:
        self._run = run
        self.folder = manifest.folder
        self.name = manifest.folder.name
        self.version = manifest.version
        self._process = process
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._readers = [asyncio.create_task(self._drain(process.stderr))]
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self.policies: tuple[DeclaredPolicy, ...] = ()
        self.initial: Mapping[str, PolicySetting] = {}
        self.supports_config = True
        # What is worth asking: a pack that does not say of what type its policies are is asked everything.
        self.remedies = self.judges_resources = self.judges_stacks = True

    async def connect(self, manifest: _Manifest) -> None:
        """Wait for the port, open the channel, tell the stack, learn what the pack holds."""
        run = self._run
        port = await self._port()
        self._readers.append(asyncio.create_task(self._drain(self._process.stdout)))
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_CHANNEL_OPTIONS)
        self._stub = analyzer_pb2_grpc.AnalyzerStub(self._channel)
        folder = str(self.folder)
        await self._optional(
            "Handshake",
            analyzer_pb2.AnalyzerHandshakeRequest(root_directory=folder, program_directory=manifest.program),
        )
        await self._optional(
            "ConfigureStack",
            analyzer_pb2.AnalyzerStackConfigureRequest(
                stack=run.stack,
                project=run.project,
                organization=run.organization,
                dry_run=run.dry_run,
                config=run.config,
                config_secret_keys=run.secret_keys,
                tags=run.tags,
            ),
        )
        info = await self._call("GetAnalyzerInfo", Empty())
        self.name = info.name or self.name
        self.version = manifest.version or info.version
        self.policies = tuple(_declared(p) for p in info.policies)
        self.initial = {name: _setting(c) for name, c in info.initialConfig.items()}
        self.supports_config = info.supportsConfig
        types = {p.policy_type for p in info.policies}
        if analyzer_pb2.POLICY_TYPE_UNKNOWN not in types:
            self.judges_resources = analyzer_pb2.POLICY_TYPE_RESOURCE in types
            self.judges_stacks = analyzer_pb2.POLICY_TYPE_STACK in types

    @property
    def pid(self) -> int:
        return self._process.pid

    async def configure(self, settings: Mapping[str, PolicySetting]) -> None:
        request = analyzer_pb2.ConfigureAnalyzerRequest()
        for name, setting in settings.items():
            entry = request.policyConfig[name]
            entry.enforcementLevel = _LEVEL_NUMBERS[setting.level or "advisory"]
            entry.properties.update(dict(setting.properties))
        await self._call("Configure", request)
        levels = {setting.level for setting in settings.values()}
        self.remedies = self.judges_resources and "remediate" in levels
        if levels == {"disabled"}:
            self.judges_resources = self.judges_stacks = False

    async def remediate(self, request: analyzer_pb2.AnalyzeRequest) -> list[Remedy]:
        """What the pack's remedies made of the inputs, in the order in which they ran."""
        response = await self._optional("Remediate", request, self._run.answer_seconds)
        return [self._remedy(r, request.urn) for r in response.remediations] if response else []

    async def analyze(self, request: analyzer_pb2.AnalyzeRequest) -> list[PolicyViolation]:
        response = await self._call("Analyze", request, timeout=self._run.answer_seconds)
        return [self._violation(d, request.urn) for d in response.diagnostics]

    async def analyze_stack(self, request: analyzer_pb2.AnalyzeStackRequest) -> list[PolicyViolation]:
        response = await self._optional("AnalyzeStack", request, self._run.answer_seconds)
        return [self._violation(d, "") for d in response.diagnostics] if response else []

    async def close(self) -> None:
        """End the process, whatever state it is in."""
        try:
            if self._channel is not None:
                if self._process.returncode is None:
                    await self._optional("Cancel", Empty(), timeout=_STOP_SECONDS)
                await self._channel.close()
        except TickoverError:
            pass  # it is being ended anyway; what it said last was reported where it broke
        finally:
            await asyncio.shield(self._end())

    async def _end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)  # its own session: children of the pack go too
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _port(self) -> int:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), _START_SECONDS)
        except TimeoutError as error:
            raise self._broken(f"It said nothing for {_START_SECONDS:.0f} s.") from error
        except ValueError as error:  # a line without end
            raise self._broken("Its first line must be its port, and is much too long for one.") from error
        text = line.decode("utf-8", "replace").strip()
        if text.isdigit():
            return int(text)
        if text:
            raise self._broken(f"Its first line must be its port, not {text!r}.")
        await self._process.wait()
        await asyncio.gather(*self._readers)
        raise self._broken(f"It ended with exit code {self._process.returncode} before it served.")

    async def _drain(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        rest = b""
        while chunk := await stream.read(_CHUNK_BYTES):  # not by lines: a pack may print one without end
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._said(line)
            rest = rest[:_CHUNK_BYTES]
        if rest:
            self._said(rest)

    def _said(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()[:_LINE_CHARS]
        self._tail.append(text)
        if self._run.on_line is not None and text:
            self._run.on_line(self.name, text)

    async def _optional(self, method: str, request: Any, timeout: float | None = None) -> Any:
        """Call what older packs do not serve; None if this one does not."""
        return await self._call(method, request, timeout=timeout, optional=True)

    async def _call(
        self, method: str, request: Any, *, timeout: float | None = None, optional: bool = False
    ) -> Any:
        try:
            return await getattr(self._stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            if optional and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            if timeout is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise self._broken(f"It did not answer {method} within {timeout:g} s.") from error
            raise self._broken(f"{method} failed: {error.details() or error.code().name}.") from error

    def _broken(self, what: str) -> TickoverError:
        said = "".join(f"\n  {line}" for line in self._tail)
        return TickoverError(
            "policy-pack-failed",
            "Policy pack failed",
            f"The pack {self.name} in {self.folder.name}/ cannot judge this stack. {what}"
            + (f" The last it said:{said}" if said else " It said nothing on stderr."),
            address=self.folder.name,
        )

    def _violation(self, diagnostic: analyzer_pb2.AnalyzeDiagnostic, urn: str) -> PolicyViolation:
        # The SDK puts the policy's description before the message; reports show it once by themselves.
        message = diagnostic.message.removeprefix(f"{diagnostic.description}\n") or diagnostic.description
        return PolicyViolation(
            pack=diagnostic.policyPackName or self.name,
            pack_version=self.version or diagnostic.policyPackVersion,
            policy=diagnostic.policyName,
            level=_VIOLATION_LEVELS.get(diagnostic.enforcementLevel, "mandatory"),
            message=message,
            urn=diagnostic.urn or urn,
        )

    def _remedy(self, said: analyzer_pb2.Remediation, urn: str) -> Remedy:
        pack, version = said.policyPackName or self.name, self.version or said.policyPackVersion
        violation = None
        if said.diagnostic:
            violation = PolicyViolation(pack, version, said.policyName, "advisory", said.diagnostic, urn)
        return Remedy(pack, version, said.policyName, said.description, said.properties, violation)


async def open_pack(path: Path, run: PackRun) -> Pack:
    manifest = _manifest(path)
    try:
        process = await asyncio.create_subprocess_exec(
            *manifest.command,
            cwd=manifest.cwd,
            env=_environment(run),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the engine's to answer
        )
    except OSError as error:
        raise _not_a_pack(path, f"{Path(manifest.command[0]).name} does not start: {error}") from error
    pack = Pack(manifest, process, run)
    try:
        await pack.connect(manifest)
    except BaseException:
        await pack.close()
        raise
    return pack


def _manifest(path: Path) -> _Manifest:
    """How to run the pack at path: a folder with PulumiPolicy.yaml, or an executable."""
    program = path.resolve()
    folder = program.parent if program.is_file() else program
    if program.is_file():
        document = _document(path, folder) if (folder / PACK_FILE).is_file() else {}
        command: tuple[str, ...] = (str(program), _ENGINE_ADDRESS)
        return _Manifest(folder, str(folder), str(document.get("version") or ""), command, Path.cwd())
    document = _document(path, folder)
    runtime = document.get("runtime")
    if not isinstance(runtime, dict):
        runtime = {"name": runtime}
    name, options = runtime.get("name"), runtime.get("options") or {}
    if name != "python":
        raise _not_a_pack(path, f"its runtime is {name!r}; this engine runs Python packs and executables")
    main = str((folder / str(document.get("main") or "")).resolve())
    command = (_python(folder, options), "-u", "-c", _LAUNCH, _ENGINE_ADDRESS, main)
    return _Manifest(folder, main, str(document.get("version") or ""), command, folder)


def _document(path: Path, folder: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load((folder / PACK_FILE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _not_a_pack(path, f"{PACK_FILE} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise _not_a_pack(path, f"{PACK_FILE} must be a map of keys")
    return document


def _python(folder: Path, options: Mapping[str, Any]) -> str:
    """The interpreter of the pack's own virtual environment, where it has one."""
    virtualenv = options.get("virtualenv") or (".venv" if options.get("toolchain") == "uv" else "")
    candidate = folder / str(virtualenv) / "bin" / "python"
    return str(candidate) if virtualenv and candidate.exists() else sys.executable


def _not_a_pack(path: Path, what: str) -> TickoverError:
    return TickoverError(
        "not-a-policy-pack", "Not a policy pack", f"{path} cannot be used: {what}.", address=path.name
    )


def _environment(run: PackRun) -> dict[str, str]:
    env = dict(os.environ)
    if search := env.get("PYTHONPATH"):  # relative entries mean our folder, not the pack's
        env["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in search.split(os.pathsep) if p)
    return env | {
        "PULUMI_ORGANIZATION": run.organization,
        "PULUMI_PROJECT": run.project,
        "PULUMI_STACK": run.stack,
        "PULUMI_DRY_RUN": "true" if run.dry_run else "false",
        "PULUMI_CONFIG": json.dumps(dict(run.config)),
    }


def _declared(info: analyzer_pb2.PolicyInfo) -> DeclaredPolicy:
    return DeclaredPolicy(
        name=info.name,
        level=_LEVEL_NAMES.get(info.enforcementLevel, "advisory"),
        schema=MessageToDict(info.configSchema.properties),
        required=tuple(info.configSchema.required),
    )


def _setting(config: analyzer_pb2.PolicyConfig) -> PolicySetting:
    return PolicySetting(_LEVEL_NAMES.get(config.enforcementLevel), MessageToDict(config.properties))
