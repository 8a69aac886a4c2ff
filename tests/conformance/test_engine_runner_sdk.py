"""The SDK's defects, worked round by our runner without touching a program."""

from __future__ import annotations

import gc
import pickle

import pulumi.dynamic.dynamic as sdk_dynamic
import pulumi.log as sdk_log
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import resource as sdk_resource
from pulumi.runtime import resource_cycle_breaker as sdk_cycles
from pulumi.runtime import rpc as sdk_rpc
from pulumi.runtime import stack as sdk_stack

from tests.support.instant_monitor import run_text
from tickover.engine.sdkfixes import Dependencies, _get_stack_trace, repaired

DYNAMIC = """
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Counted(ResourceProvider):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def create(self, props):
        return CreateResult("x", {**props, "size": self.size})

    def delete(self, id, props):
        pass


class Dynamic(Resource):
    def __init__(self, name, provider):
        super().__init__(provider, name, {"name": name})


"""
CHAIN = """
last = None
for i in range(%d):
    last = Thing(f"t{i}", opts=Opts(depends_on=[last] if last else []))
"""
OUTPUT_CHAIN = """
last = None
for i in range(%d):
    last = Thing(f"t{i}", note=last.token if last else "first", token="x")
"""


def test_two_thousand_dynamic_resources_pass(tmp_path):
    ran = run_text(tmp_path, DYNAMIC + "for i in range(2000):\n    Dynamic(f'd{i}', Counted(i))")
    assert ran.error is None
    assert len(ran.monitor.names) == 2000


def test_a_provider_is_pickled_to_the_same_text_whatever_came_before(tmp_path):
    ran = run_text(tmp_path, DYNAMIC + "for i in range(5):\n    Dynamic(f'd{i}', Counted(7))")
    pickles = {r.object["__provider"]["value"] for r in ran.monitor.requests if r.custom}
    assert len(pickles) == 1
    alone = run_text(tmp_path, DYNAMIC + "Dynamic('d', Counted(7))")
    assert {r.object["__provider"]["value"] for r in alone.monitor.requests if r.custom} == pickles


@pytest.mark.parametrize("program", [CHAIN, OUTPUT_CHAIN])
def test_a_chain_of_two_thousand_passes_in_time_that_grows_with_its_length(tmp_path, program):
    run_text(tmp_path, program % 10)
    short = run_text(tmp_path, program % 500)
    long = run_text(tmp_path, program % 2000)
    assert (short.error, long.error) == (None, None)
    assert long.monitor.names == [f"t{i}" for i in range(2000)]
    assert long.cpu_seconds < 9 * short.cpu_seconds  # 4 times is linear, 16 times is not


def test_dependencies_reach_the_engine_as_declared(tmp_path):
    ran = run_text(tmp_path, CHAIN % 3)
    dependencies = {r.name: list(r.dependencies) for r in ran.monitor.requests if r.custom}
    urn = "urn:pulumi:dev::demo::test:index:Thing::t"
    assert dependencies == {"t0": [], "t1": [f"{urn}0"], "t2": [f"{urn}1"]}


CYCLE = """
class Group(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Group", name)
        self.child = Thing("child", opts=Opts(parent=self))
        self.second = Thing("second", opts=Opts(parent=self, depends_on=[self]))


Group("group")
"""


def test_a_cycle_is_the_sdks_own_error(tmp_path):
    ran = run_text(tmp_path, CYCLE)
    assert ran.error is not None
    assert "We have detected a circular dependency" in ran.error.detail
    assert "named second" in ran.error.detail


def test_cycles_may_be_allowed_as_the_sdk_allows_them(tmp_path, monkeypatch):
    monkeypatch.setenv(sdk_rpc.ERROR_ON_DEPENDENCY_CYCLES_VAR, "false")
    ran = run_text(tmp_path, CYCLE)
    assert ran.error is None
    (second,) = (r for r in ran.monitor.requests if r.name == "second")
    assert list(second.dependencies) == ["urn:pulumi:dev::demo::test:index:Thing::child"]


class Node:
    """What the SDK's own check keeps its edges on."""


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=60))
def test_every_edge_is_judged_as_the_sdk_judges_it(edges):
    nodes = [Node() for _ in range(12)]
    ours = Dependencies()
    for one, other in edges:
        expected = sdk_cycles.declare_dependency(nodes[one], nodes[other])
        assert ours.declare(nodes[one], nodes[other]) == expected


class Base:
    def __init__(self) -> None:
        self.traces = (sdk_resource._get_stack_trace(), _get_stack_trace())


class Custom(Base):
    def __init__(self) -> None:
        super().__init__()


class Third(Custom):
    def __init__(self) -> None:
        super().__init__()


def test_stack_traces_are_the_sdks_own():
    def make():
        return [Third(), eval("Third()")]

    for made in make():
        theirs, ours = made.traces
        assert ours == theirs
        assert len(ours.frames) > 3
        assert any(f.pc.uri.startswith("file://") for f in ours.frames)
    theirs, ours = Custom().traces  # the third constructor is somewhere outside, or nowhere
    assert ours == theirs


def test_a_resource_tells_where_it_was_declared(tmp_path):
    ran = run_text(tmp_path, "def make():\n    return Thing('t')\nmake()")
    (request,) = (r for r in ran.monitor.requests if r.custom)
    lines = (tmp_path / "__main__.py").read_text().splitlines()
    assert lines[request.sourcePosition.line - 1] == "    return Thing('t')"
    assert request.sourcePosition.uri == (tmp_path / "__main__.py").resolve().as_uri()
    assert request.stackTrace.frames[0].pc == request.sourcePosition
    assert lines[request.stackTrace.frames[1].pc.line - 1] == "make()"


def _standing():
    return (
        sdk_dynamic.serialize_provider,
        sdk_cycles.declare_dependency,
        sdk_rpc.declare_dependency,
        sdk_stack.wait_for_rpcs,
        sdk_resource._get_stack_trace,
        sdk_resource.create_urn,
        sdk_log.debug,
        pickle._Pickler._batch_setitems,
        pickle._Pickler.save_dict,
        pickle.Pickler,
        gc.get_threshold(),
    )


def test_all_repairs_apply_and_are_undone(tmp_path):
    before = _standing()
    run_text(tmp_path, DYNAMIC + "Dynamic('d', Counted(7))\nThing('t')")
    run_text(tmp_path, "raise ValueError('no')")
    assert _standing() == before
    with repaired() as names:
        assert names == (
            "pickler",
            "cycles",
            "waiting",
            "stack traces",
            "unused URNs",
            "debug messages",
        )
    assert _standing() == before


@pytest.mark.parametrize(
    ("module", "function", "repair"),
    [
        (sdk_dynamic, "serialize_provider", "pickler"),
        (sdk_cycles, "_with_transitive_deps", "cycles"),
        (sdk_stack, "wait_for_rpcs", "waiting"),
        (sdk_resource, "_get_stack_trace", "stack traces"),
        (sdk_resource, "register_resource", "unused URNs"),
    ],
)
def test_an_sdk_of_another_shape_is_left_alone(monkeypatch, module, function, repair):
    def other(*_):
        """Mended by its makers."""

    monkeypatch.setattr(module, function, other)
    with repaired() as names:
        assert repair not in names
        assert getattr(module, function) is other


def test_debug_messages_are_sent_to_an_engine_that_hears_them(tmp_path):
    assert run_text(tmp_path, "pulumi.log.debug('x'); pulumi.log.info('y')").engine.logged[0].message == "y"
    loud = run_text(tmp_path, "pulumi.log.debug('x')", hears_debug=True)
    assert "x" in [r.message for r in loud.engine.logged]


def test_a_failing_output_ends_a_program_whose_other_outputs_never_resolve(tmp_path):
    ran = run_text(
        tmp_path,
        """
        import asyncio
        pulumi.Output.from_input(asyncio.sleep(10**6))
        pulumi.Output.from_input(0).apply(lambda n: 1 / n)
        """,
    )
    assert ran.error is not None
    assert "ZeroDivisionError" in ran.error.detail


def test_outputs_that_outputs_make_are_awaited(tmp_path):
    ran = run_text(
        tmp_path,
        """
        def again(n):
            if n:
                pulumi.Output.from_input(n - 1).apply(again)
            else:
                print("the last")
                Thing("late")
        pulumi.Output.from_input(5).apply(again)
        """,
    )
    assert ran.lines == ["the last"]
    assert ran.monitor.names == ["late"]
