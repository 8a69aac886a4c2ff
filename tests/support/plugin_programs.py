"""Plugins written with Pulumi's own Python SDK, as texts, and a monitor that takes their registrations.

Owns: the programs and the monitor's answers. Promises: the monitor answers every registration at once with
its inputs. Never: asserts.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import resource_pb2

from tickover.engine.monitor import RpcFailure

MANIFEST = "runtime: python\nname: shapes\n"

COMPONENT_MODULE = """
from typing import Optional, TypedDict
import pulumi


class PairArgs(TypedDict):
    label: pulumi.Input[str]
    secret: Optional[pulumi.Input[str]]


class Leaf(pulumi.CustomResource):
    def __init__(self, name, props, opts=None):
        super().__init__("judge:index:Leaf", name, props, opts)


class Pair(pulumi.ComponentResource):
    shown: pulumi.Output[str]

    def __init__(self, name: str, args: PairArgs, opts: Optional[pulumi.ResourceOptions] = None) -> None:
        super().__init__("shapes:index:Pair", name, {}, opts)
        if name == "broken":
            raise ValueError("a pair cannot be broken")
        pulumi.log.warn("pairing", self)
        for side in ("left", "right"):
            Leaf(f"{name}-{side}", {"label": args["label"]}, pulumi.ResourceOptions(parent=self))
        self.shown = pulumi.Output.concat("<", args["label"], ">")
        self.register_outputs({"shown": self.shown})
"""

COMPONENT_MAIN = """
from pulumi.provider.experimental import component_provider_host
from parts import Pair

component_provider_host(name="shapes", components=[Pair])
"""

TYPED_MAIN = """
import sys
from pulumi.provider.experimental import provider as px
from pulumi.provider.experimental.server import main


class Typed(px.Provider):
    async def configure(self, request):
        return px.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def check(self, request):
        failures = [px.CheckFailure("size", "too big")] if "size" in request.new_inputs else []
        return px.CheckResponse(inputs=request.new_inputs, failures=failures)

    async def create(self, request):
        if "refuse" in request.properties:
            raise RuntimeError("the shop is closed")
        return px.CreateResponse(resource_id="typed-1", properties=request.properties)

    async def invoke(self, request):
        return px.InvokeResponse(return_value={"echo": request.args["say"]})


main(sys.argv[1:], "3.2.1", Typed())
"""


class InstantMonitor:
    """A ResourceMonitor that keeps the registrations."""

    def __init__(self) -> None:
        self.registered: list[tuple[str, str, str]] = []
        self.outputs: dict[str, Any] = {}

    def SupportsFeature(self, request: Any) -> Any:
        return resource_pb2.SupportsFeatureResponse(hasSupport=True)

    def RegisterResource(self, request: Any) -> Any:
        if request.name == "taken":
            raise RpcFailure(grpc.StatusCode.ALREADY_EXISTS, "the name is taken")
        self.registered.append((request.type, request.name, request.parent))
        urn = f"urn:pulumi:dev::p::{request.type}::{request.name}"
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=f"{request.name}-1" if request.custom else "", object=request.object
        )

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self.outputs[request.urn] = dict(request.outputs)
        return empty_pb2.Empty()
