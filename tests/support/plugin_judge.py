"""A provider plugin written against Pulumi's own servicer, which keeps what it was asked.

Owns: the plugin's process and the recording of its requests. What it does with a resource is said by the
input ``do``; what it accepts by JUDGE_ACCEPTS. Promises: every request is one JSON line in JUDGE_RECORD
before it is answered. Never: imports tickover.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from concurrent import futures
from pathlib import Path
from threading import Event
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def struct(values: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(values)
    return made


class Judge(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self, accepts: set[str], engine: str) -> None:
        self._accepts = accepts
        self._engine = engine
        self._parameter = ""

    def _keep(self, request: Any, context: Any) -> None:
        verb = sys._getframe(1).f_code.co_name
        with Path(os.environ["JUDGE_RECORD"]).open("a") as out:
            out.write(json.dumps({"verb": verb} | MessageToDict(request, preserving_proto_field_name=True)))
            out.write("\n")

    def Handshake(self, request, context):
        self._keep(request, context)
        if "handshake" not in self._accepts:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no handshake here")
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets="secrets" in self._accepts,
            accept_resources="resources" in self._accepts,
            accept_outputs="outputs" in self._accepts,
        )

    def Attach(self, request, context):
        self._keep(request, context)
        self._engine = request.address
        return Empty()

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.2.3")

    def Parameterize(self, request, context):
        self._keep(request, context)
        self._parameter = request.value.name
        return provider_pb2.ParameterizeResponse(name=request.value.name, version=request.value.version)

    def CheckConfig(self, request, context):
        self._keep(request, context)
        if "config" not in self._accepts:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no CheckConfig here")
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        self._keep(request, context)
        if "config" not in self._accepts:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no DiffConfig here")
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME, diffs=["region"], replaces=["region"]
        )

    def Configure(self, request, context):
        self._keep(request, context)
        if "missing" in request.args.fields:
            keys = provider_pb2.ConfigureErrorMissingKeys()
            keys.missingKeys.add(name="judge:token", description="the token to log in with")
            self._abort(context, grpc.StatusCode.INVALID_ARGUMENT, "missing required keys", keys)
        return provider_pb2.ConfigureResponse(
            acceptSecrets="secrets" in self._accepts,
            acceptResources="resources" in self._accepts,
            acceptOutputs="outputs" in self._accepts,
            supportsPreview="preview" in self._accepts,
        )

    def Check(self, request, context):
        self._keep(request, context)
        failures = []
        if "bad" in request.news.fields:
            failures = [provider_pb2.CheckFailure(property="bad", reason="bad must not be given")]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request, context):
        self._keep(request, context)
        answer = provider_pb2.DiffResponse()
        match request.news.fields["do"].string_value:
            case "detailed":
                kinds = provider_pb2.PropertyDiff
                answer.changes = answer.DIFF_SOME
                answer.hasDetailedDiff = True
                answer.detailedDiff["a.b"].kind = kinds.UPDATE_REPLACE
                answer.detailedDiff["c[0]"].kind = kinds.DELETE
                answer.detailedDiff["c[0]"].inputDiff = True
                answer.replaces.append("a")
                answer.stables.append("arn")
                answer.deleteBeforeReplace = True
            case "none":
                answer.changes = answer.DIFF_NONE
            case "keys":
                answer.changes = answer.DIFF_SOME
                answer.diffs.extend(["new", "gone", "size"])
                answer.replaces.append("size")
        return answer

    def Create(self, request, context):
        self._keep(request, context)
        outputs = struct({})
        outputs.CopyFrom(request.properties)
        match request.properties.fields["do"].string_value:
            case "die":
                sys.stderr.write(f"panic: cannot go on with {request.properties.fields['key']}\n")
                sys.stderr.flush()
                os._exit(7)
            case "hang":
                print("hanging", flush=True)
                Event().wait()
            case "partial":
                detail = provider_pb2.ErrorResourceInitFailed(
                    id="half", properties=outputs, inputs=request.properties, reasons=["never got ready"]
                )
                self._abort(context, grpc.StatusCode.UNKNOWN, "init failed", detail)
            case "raise":
                context.abort(
                    grpc.StatusCode.UNKNOWN,
                    'Traceback (most recent call last):\n  File "p.py", line 3, in create\n    raise '
                    "ValueError(key)\nValueError: no such key hunter2\n",
                )
            case "unavailable":
                context.abort(grpc.StatusCode.UNAVAILABLE, "the far end did not answer")
            case "no-id":
                return provider_pb2.CreateResponse(properties=outputs)
            case "open":
                outputs.update({"address": UNKNOWN})
            case "log":
                with grpc.insecure_channel(self._engine) as channel:
                    engine_pb2_grpc.EngineStub(channel).Log(
                        engine_pb2.LogRequest(
                            severity=engine_pb2.WARNING, urn=request.urn, message="slow today", ephemeral=True
                        )
                    )
        return provider_pb2.CreateResponse(
            id="new" if not request.preview else "", properties=outputs, refresh_before_update=True
        )

    def Read(self, request, context):
        self._keep(request, context)
        if request.id == "gone":
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Update(self, request, context):
        self._keep(request, context)
        if request.news.fields["do"].string_value == "partial":
            detail = provider_pb2.ErrorResourceInitFailed(properties=request.news, reasons=["half done"])
            self._abort(context, grpc.StatusCode.UNKNOWN, "init failed", detail)
        return provider_pb2.UpdateResponse(properties=request.news)

    def Delete(self, request, context):
        self._keep(request, context)
        if request.id == "stuck":
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "still deleting")
        return Empty()

    def Invoke(self, request, context):
        self._keep(request, context)
        answer = provider_pb2.InvokeResponse()
        getattr(answer, "return").update({"answer": 42})
        return answer

    def Construct(self, request, context):
        self._keep(request, context)
        return provider_pb2.ConstructResponse(urn="urn:pulumi:s::p::judge:index:C::c", state=request.inputs)

    def Call(self, request, context):
        self._keep(request, context)
        answer = provider_pb2.CallResponse()
        getattr(answer, "return").CopyFrom(request.args)
        return answer

    def Cancel(self, request, context):
        self._keep(request, context)
        return Empty()

    def _abort(self, context: Any, code: grpc.StatusCode, message: str, detail: Any) -> None:
        status = status_pb2.Status(code=code.value[0], message=message)
        status.details.add().Pack(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)


def serve(engine: str = "", port: int = 0) -> tuple[grpc.Server, int]:
    options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=options)
    accepts = set(os.environ.get("JUDGE_ACCEPTS", "").split(","))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Judge(accepts, engine), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


def main() -> None:
    server, port = serve(sys.argv[-1])
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    stopped.wait()
    server.stop(0).wait()


def script(folder: Path, body: str, name: str = "judge") -> Path:
    """An executable plugin in folder whose program is body."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"pulumi-resource-{name}"
    path.write_text(f"#!{sys.executable}\n{body}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def judge(folder: Path, name: str = "judge") -> Path:
    """This module as an executable plugin in folder."""
    body = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.support.plugin_judge import main\nmain()"
    )
    return script(folder, body, name)


def recorded(file: Path, verb: str) -> list[dict[str, Any]]:
    """The requests for a verb, in order."""
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [line for line in lines if line["verb"] == verb]
