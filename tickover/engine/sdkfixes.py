"""Repairs of the Pulumi SDK for the time of one run, without a change of what it does.

Owns: the defects worked round (a pickler that grows with every dynamic resource, a cycle check that walks
every dependency of every dependency, a wait that starts over with every output) and the work saved (stack
traces, unused URNs, debug messages nobody hears). Promises: each repair applies only where the SDK still
has the shape it was written for; all are undone at the end. Never: touches user code.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import pathlib
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import Any, Final

import pulumi.dynamic.dynamic as sdk_dynamic
import pulumi.log as sdk_log
from pulumi.runtime import resource as sdk_resource
from pulumi.runtime import resource_cycle_breaker as sdk_cycles
from pulumi.runtime import rpc as sdk_rpc
from pulumi.runtime import settings as sdk_settings
from pulumi.runtime import stack as sdk_stack
from pulumi.runtime.proto import source_pb2

_GC_ALLOCATIONS: Final = 50_000  # a program makes objects by the ten thousand, and nearly all of them stay


@dataclass(frozen=True, slots=True)
class Repair:
    """replacements: (module, attribute, what stands there during a run)."""

    name: str
    replacements: tuple[tuple[Any, str, Any], ...]


@contextmanager
def repaired(*, hears_debug: bool = False) -> Iterator[tuple[str, ...]]:
    """The SDK with its repairs, whose names are yielded. hears_debug: debug messages are wanted."""
    known = (_pickler(), _cycles(), _waiting(), _stack_traces(), _unused_urns())
    repairs = [r for r in known if r is not None]
    if not hears_debug:
        repairs.append(_quiet())
    before: list[tuple[Any, str, Any]] = []
    thresholds = gc.get_threshold()
    gc.set_threshold(max(_GC_ALLOCATIONS, thresholds[0]), *thresholds[1:])
    try:
        for repair in repairs:
            for module, attribute, value in repair.replacements:
                before.append((module, attribute, getattr(module, attribute)))
                setattr(module, attribute, value)
        yield tuple(r.name for r in repairs)
    finally:
        for module, attribute, value in reversed(before):
            setattr(module, attribute, value)
        gc.set_threshold(*thresholds)


@lru_cache(maxsize=32)
def _source(function: Callable[..., Any]) -> str:
    """The code of an SDK function; empty where it cannot be had (then nothing is repaired)."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _has(module: Any, attribute: str, *parts: str) -> bool:
    """True if the SDK's function holds every part, by which a repair knows the shape it was written for."""
    text = _source(getattr(module, attribute, None))
    return bool(text) and all(part in text for part in parts)


# --- dynamic providers ------------------------------------------------------------------------------


def _pickler() -> Repair | None:
    """Each serialised provider wraps the pickler's item writer once more, a stack frame a resource."""
    if not _has(sdk_dynamic, "serialize_provider", "pickle.Pickler._batch_setitems = "):
        return None
    original = sdk_dynamic.serialize_provider
    pickler: Any = pickle._Pickler

    def serialize_provider(provider: Any) -> Any:
        writers = {name: getattr(pickler, name) for name in ("_batch_setitems", "save_dict")}
        try:
            return original(provider)
        finally:
            for name, writer in writers.items():
                setattr(pickler, name, writer)

    return Repair("pickler", ((sdk_dynamic, "serialize_provider", serialize_provider),))


# --- dependency cycles ------------------------------------------------------------------------------


class Dependencies:
    """Who depends on whom, kept in an order in which dependencies come first.

    An edge that agrees with the order needs no search; one that does not moves only what lies between its
    ends (the method of Pearce and Kelly). A cycle is found exactly.
    """

    def __init__(self) -> None:
        self._place: dict[Any, int] = {}
        self._needs: dict[Any, set[Any]] = {}
        self._needed_by: dict[Any, set[Any]] = {}

    def declare(self, dependent: Any, dependency: Any) -> bool:
        """Remember the edge; False, and nothing remembered, if it closes a cycle."""
        for node in (dependency, dependent):
            if node not in self._place:
                self._place[node] = len(self._place)
                self._needs[node], self._needed_by[node] = set(), set()
        if dependent == dependency:
            return False
        if dependency in self._needs[dependent]:
            return True
        low, high = self._place[dependent], self._place[dependency]
        if high > low and not self._reorder(dependent, dependency, low, high):
            return False
        self._needs[dependent].add(dependency)
        self._needed_by[dependency].add(dependent)
        return True

    def _reorder(self, dependent: Any, dependency: Any, low: int, high: int) -> bool:
        below = self._within(dependency, self._needs, low, high)
        if dependent in below:
            return False
        above = self._within(dependent, self._needed_by, low, high)
        moved = sorted(below, key=self._place.__getitem__) + sorted(above, key=self._place.__getitem__)
        for node, place in zip(moved, sorted(self._place[n] for n in moved), strict=True):
            self._place[node] = place
        return True

    def _within(self, start: Any, edges: dict[Any, set[Any]], low: int, high: int) -> set[Any]:
        """What edges lead to from start without leaving the places low to high."""
        met, stack = {start}, [start]
        while stack:
            for node in edges[stack.pop()]:
                if node not in met and low <= self._place[node] <= high:
                    met.add(node)
                    stack.append(node)
        return met


def _cycles() -> Repair | None:
    """The SDK asks for every edge whether it closes a cycle, by a recursive walk over all that lies below."""
    if not _has(sdk_cycles, "declare_dependency", "_reachable(", "_add_dep(") or not _has(
        sdk_cycles, "_with_transitive_deps", "yield from _with_transitive_deps("
    ):
        return None
    if getattr(sdk_rpc, "declare_dependency", None) is not sdk_cycles.declare_dependency:
        return None
    known = Dependencies()

    def declare_dependency(from_resource: Any, to_resource: Any) -> bool:
        return known.declare(from_resource, to_resource)

    return Repair(
        "cycles", tuple((m, "declare_dependency", declare_dependency) for m in (sdk_cycles, sdk_rpc))
    )


# --- waiting for the program's end --------------------------------------------------------------------


class Finishing:
    """Tasks that are awaited in the order in which they end, each looked at twice however many there are."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()
        self._ended: list[asyncio.Future[Any]] = []
        self._news = asyncio.Event()

    def add(self, task: asyncio.Future[Any]) -> None:
        if task not in self._running:
            self._running.add(task)
            task.add_done_callback(self._note)

    def _note(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        self._ended.append(task)
        self._news.set()

    @property
    def is_empty(self) -> bool:
        return not self._running and not self._ended

    async def some(self) -> None:
        """Wait until one or more have ended. Raises what one of them raised."""
        if not self._ended:
            self._news.clear()
            await self._news.wait()
        ended, self._ended = self._ended, []
        for task in ended:
            await task


def _waiting() -> Repair | None:
    """At its end a program waits for all outputs, and again for all that are left after each one."""
    if not _has(
        sdk_stack,
        "wait_for_rpcs",
        "await_all_outstanding_tasks=True",
        "rpc_manager.rpcs.pop()",
        "SETTINGS.outputs.clear()",
        "asyncio.FIRST_COMPLETED",
    ):
        return None
    return Repair("waiting", ((sdk_stack, "wait_for_rpcs", _wait_for_rpcs),))


async def _wait_for_rpcs(await_all_outstanding_tasks: bool = True) -> None:
    """Wait for every call, and every output, also those that come up meanwhile; raise the first failure."""
    manager = sdk_settings._get_rpc_manager()
    settings: Any = sdk_settings.SETTINGS
    outputs = Finishing()
    while True:
        while manager.rpcs:
            await asyncio.sleep(0)
            try:
                await manager.rpcs.pop()
            except Exception as error:
                if manager.unhandled_exception is None:
                    raise
                raise error from manager.unhandled_exception.with_traceback(manager.exception_traceback)
        if manager.unhandled_exception is not None:
            raise manager.unhandled_exception.with_traceback(manager.exception_traceback)
        while await_all_outstanding_tasks:
            with settings.lock:
                for task in settings.outputs:
                    outputs.add(task)
                settings.outputs.clear()
            if outputs.is_empty:
                break
            await outputs.some()
        if not manager.rpcs:
            break


# --- stack traces -----------------------------------------------------------------------------------


def _stack_traces() -> Repair | None:
    """The same frames and positions, without reading source lines and with each file's URI made once."""
    if not _has(
        sdk_resource,
        "_get_stack_trace",
        "traceback.extract_stack()",
        'if f.name == "__init__"',
        "if n == 3",
        "reversed(stack[:i])",
    ) or not _has(sdk_resource, "_get_source_position_for_frame", "pathlib.Path(frame.filename).as_uri()"):
        return None
    return Repair("stack traces", ((sdk_resource, "_get_stack_trace", _get_stack_trace),))


def _get_stack_trace() -> source_pb2.StackTrace:
    """The frames outside the third constructor, counted from the innermost."""
    frame: FrameType | None = sys._getframe(1)
    met = 0
    while frame is not None:
        met += frame.f_code.co_name == "__init__"
        if met == 3:
            break
        frame = frame.f_back
    frames: list[source_pb2.StackFrame] = []
    frame = frame.f_back if frame is not None else None
    while frame is not None:
        frames.append(_stack_frame(frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return source_pb2.StackTrace(frames=frames)


@lru_cache(maxsize=4096)
def _stack_frame(file: str, line: int | None) -> source_pb2.StackFrame:
    uri = _uri(file)
    if not uri or line is None:
        return source_pb2.StackFrame(pc=None)
    return source_pb2.StackFrame(pc=source_pb2.SourcePosition(uri=uri, line=line))


@lru_cache(maxsize=1024)
def _uri(file: str) -> str:
    try:
        return pathlib.Path(file).as_uri() if file else ""
    except ValueError:  # not absolute, as of code that came from no file
        return ""


# --- work nobody asked for --------------------------------------------------------------------------


class _Nothing:
    """Stands for an output whose value is not used."""

    async def future(self) -> None:
        return None


def _unused_urns() -> Repair | None:
    """Each registration computes its URN for the case that there is no monitor."""
    made = "mock_urn = await create_urn(name, ty, resolver.parent_urn).future()"
    for function in ("register_resource", "read_resource"):
        if not _has(sdk_resource, function, made, 'mock_urn or ""'):
            return None
        if _source(getattr(sdk_resource, function)).count("mock_urn") != 2:
            return None
    original = sdk_resource.create_urn
    nothing = _Nothing()

    def create_urn(name: Any, type_: Any, parent: Any = None, *others: Any, **named: Any) -> Any:
        # Only those calls pass three strings: all others go on with an output, or with project and stack.
        plain = isinstance(name, str) and isinstance(type_, str) and isinstance(parent, str)
        if plain and not others and not named and sdk_settings.get_monitor() is not None:
            return nothing
        return original(name, type_, parent, *others, **named)

    return Repair("unused URNs", ((sdk_resource, "create_urn", create_urn),))


def _quiet() -> Repair:
    """Several debug messages a resource, each a request to an engine that drops it."""

    def debug(*_: Any, **__: Any) -> None:
        return None

    return Repair("debug messages", ((sdk_log, "debug", debug),))
