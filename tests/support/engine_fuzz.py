"""Random stacks for tests: a model of a program, its Python text, its changes, and a provider that fails.

Owns: `Node` (one resource of a program), `text_of`, the strategies `programs`, `changed`, `scenarios`, and
`FuzzProvider`. Promises: deterministic text; every drawn program is one that Pulumi accepts. Never: judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.support.engine_scripted import ScriptedProvider, World, name_of
from tickover.engine.plugins.errors import OutcomeUnknown
from tickover.engine.provider import (
    CreateRequest,
    CreateResult,
    DeleteRequest,
    InitFailed,
    ReadRequest,
    ReadResult,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import reveal
from tickover.errors import TickoverError

REFERENCES = ("parent", "provider", "of", "deleted_with")
LISTS = ("depends", "replace_with")


@dataclass(frozen=True)
class Node:
    """kind: thing | group | provider. former: names it had; moved: it was the stack's own child before."""

    name: str
    kind: str = "thing"
    size: int = 0
    which: int = 0  # what a provider replaces for: `kind` of a thing, `region` of a provider
    parent: str = ""
    provider: str = ""
    of: str = ""
    deleted_with: str = ""
    depends: tuple[str, ...] = ()
    replace_with: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    moved: bool = False
    protect: bool = False
    retain: bool = False
    first: bool | None = None

    def needs(self) -> set[str]:
        found = {getattr(self, f) for f in REFERENCES} | {n for f in LISTS for n in getattr(self, f)}
        return found - {""}


Program = tuple[Node, ...]


def text_of(program: Program) -> str:
    """The Python text of program."""
    return "".join(f"{node.name} = {_call(node)}\n" for node in program)


def _call(node: Node) -> str:
    options = [f"{key}={value}" for key, value in _options(node) if value]
    opts = f", opts=Opts({', '.join(options)})" if options else ""
    if node.kind == "group":
        return f"Group({node.name!r}{opts})"
    if node.kind == "provider":
        return f"Provider({node.name!r}{opts}, region='r{node.which}', size={node.size})"
    of = f", of={node.of}.token" if node.of else ""
    return f"Thing({node.name!r}{opts}, size={node.size}, kind={node.which}{of})"


def _options(node: Node) -> list[tuple[str, str]]:
    aliases = [f"pulumi.Alias(name={name!r})" for name in node.former]
    if node.moved:
        aliases += [
            f"pulumi.Alias(name={name!r}, parent=pulumi.ROOT_STACK_RESOURCE)"
            for name in (node.name, *node.former)
        ]
    return [
        ("parent", node.parent),
        ("provider", node.provider),
        ("deleted_with", node.deleted_with),
        ("depends_on", _names(node.depends)),
        ("replace_with", _names(node.replace_with)),
        ("aliases", f"[{', '.join(aliases)}]" if aliases else ""),
        ("protect", "True" if node.protect else ""),
        ("retain_on_delete", "True" if node.retain else ""),
        ("delete_before_replace", "" if node.first is None else str(node.first)),
    ]


def _names(names: tuple[str, ...]) -> str:
    return f"[{', '.join(names)}]" if names else ""


# -- strategies ----------------------------------------------------------------------------------------


def rarely(draw: Any) -> bool:
    return draw(st.integers(0, 5)) == 5


def _subset(draw: Any, names: list[str], most: int = 2) -> tuple[str, ...]:
    return tuple(sorted(draw(st.sets(st.sampled_from(names), max_size=most)))) if names else ()


@st.composite
def nodes(draw: Any, name: str, before: Program) -> Node:
    """One resource that may need those before it."""
    things = [n.name for n in before if n.kind == "thing"]
    parents = [n.name for n in before if n.kind != "provider"]
    providers = [n.name for n in before if n.kind == "provider"]
    kind = draw(st.sampled_from(("thing", "thing", "thing", "thing", "group", "provider")))
    node = Node(name, kind, draw(st.integers(0, 1)), draw(st.integers(0, 1)))
    if parents and draw(st.booleans()):
        node = replace(node, parent=draw(st.sampled_from(parents)))
    if kind == "group":
        return node
    node = replace(node, protect=rarely(draw) and rarely(draw), depends=_subset(draw, things))
    if kind == "provider":
        return node
    node = replace(node, retain=rarely(draw), first=draw(st.sampled_from((None, None, True, False))))
    if providers and draw(st.booleans()):
        node = replace(node, provider=draw(st.sampled_from(providers)))
    if things and draw(st.booleans()):
        node = replace(node, of=draw(st.sampled_from(things)))
    if things and rarely(draw):
        node = replace(node, deleted_with=draw(st.sampled_from(things)))
    if things and rarely(draw):
        node = replace(node, replace_with=_subset(draw, things))
    return node


@st.composite
def programs(draw: Any) -> Program:
    program: Program = ()
    for index in range(draw(st.integers(2, 7))):
        program = (*program, draw(nodes(f"n{index}", program)))
    return program


def _ordered(draw: Any, program: Program) -> Program:
    """program in another order that still defines everything before its use."""
    waiting = list(draw(st.permutations(program))) if draw(st.booleans()) else list(program)
    found: list[Node] = []
    while waiting:
        done = {n.name for n in found}
        ready = next(n for n in waiting if n.needs() <= done)
        waiting.remove(ready)
        found.append(ready)
    return tuple(found)


def _without(program: Program, names: set[str]) -> Program:
    """program without names, and without what refers to them."""
    left = []
    for node in program:
        if node.name in names:
            continue
        fields: dict[str, Any] = {f: "" for f in REFERENCES if getattr(node, f) in names}
        for key in LISTS:
            fields[key] = tuple(n for n in getattr(node, key) if n not in names)
        left.append(replace(node, **fields))
    return tuple(left)


def _renamed(program: Program, old: str, new: str) -> Program:
    def other(name: str) -> str:
        return new if name == old else name

    found = []
    for node in program:
        fields: dict[str, Any] = {f: other(getattr(node, f)) for f in REFERENCES}
        fields |= {f: tuple(map(other, getattr(node, f))) for f in LISTS}
        if node.name == old:
            fields |= {"name": new, "former": (*node.former, old)}
        found.append(replace(node, **fields))
    return tuple(found)


@st.composite
def changed(draw: Any, program: Program, number: int) -> Program:
    """The next program. number: makes new names new."""
    for node in program:
        program = _edited(draw, program, node.name, number)
    for index in range(draw(st.integers(0, 2))):
        program = (*program, draw(nodes(f"m{number}{index}", program)))
    return _ordered(draw, program)


EDITS = (
    *("keep", "keep", "size", "size", "which", "which", "which", "remove"),
    *("rename", "option", "of", "reparent", "depends"),
)


def _edited(draw: Any, program: Program, name: str, number: int) -> Program:
    act = draw(st.sampled_from(EDITS))
    place, node = next((i, n) for i, n in enumerate(program) if n.name == name)
    things = [n.name for n in program[:place] if n.kind == "thing"]
    match act:
        case "size":
            node = replace(node, size=node.size + 1)
        case "which":
            node = replace(node, which=1 - node.which)
        case "remove":
            return _without(program, {name})
        case "rename":
            return _renamed(program, name, f"{name}x{number}")
        case "option" if node.kind == "thing":
            first = draw(st.sampled_from((None, True)))
            node = replace(node, protect=rarely(draw) and rarely(draw), retain=rarely(draw), first=first)
        case "of" if node.kind == "thing":
            node = replace(node, of=draw(st.sampled_from(["", *things])))
        case "depends" if node.kind == "thing":
            node = replace(node, depends=_subset(draw, things))
        case "reparent" if not node.parent and not node.moved:
            groups = [n.name for n in program[:place] if n.kind == "group"]
            if groups:
                node = replace(node, parent=draw(st.sampled_from(groups)), moved=True)
    return (*program[:place], node, *program[place + 1 :])


FAULTS = {
    "create": ("fail", "partial", "unknown", "lost"),
    "update": ("fail", "partial", "unknown", "lost"),
    "delete": ("fail", "unknown", "lost"),
    "read": ("fail", "partial"),
    "check": ("fail",),
    "diff": ("fail",),
}
EFFECTS = ("create", "update", "delete")


@dataclass(frozen=True)
class Stage:
    """One operation. faults: by ``verb name``; gone: whose objects vanish before it; fields: of a Request."""

    op: str
    program: Program
    faults: dict[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    target_dependents: bool = False


@st.composite
def stages(draw: Any, program: Program, known: list[str], number: int) -> Stage:
    """known: names that the state may have."""
    op = draw(st.sampled_from(("up", "up", "up", "up", "preview", "refresh", "destroy")))
    names = sorted({n.name for n in program} | set(known))
    faults = {}
    for name in _subset(draw, names, 3):
        for verb, kinds in FAULTS.items():
            if verb in EFFECTS or rarely(draw):
                faults[f"{verb} {name}"] = draw(st.sampled_from(kinds))
    fields: dict[str, Any] = {
        "continue_on_error": draw(st.booleans()),
        "skip_preview": draw(st.booleans()),
        "refresh": rarely(draw),
        "run_program": op == "destroy" and rarely(draw),
    }
    choice: dict[str, Any] = {}
    if names and rarely(draw):
        choice = {"targets": _subset(draw, names), "target_dependents": draw(st.booleans())}
    elif names and rarely(draw):
        choice = {"excludes": _subset(draw, names)}
    elif op == "up" and rarely(draw):
        choice = {"replaces": _subset(draw, [n.name for n in program])}
    gone = _subset(draw, names, 1) if rarely(draw) else ()
    return Stage(op, program, faults, gone, fields, **choice)


@st.composite
def scenarios(draw: Any) -> tuple[Stage, ...]:
    """An undisturbed up, then one to three operations on changing programs."""
    program = draw(programs())
    found = [Stage("up", program, fields={"skip_preview": True})]
    known = [n.name for n in program]
    for number in range(draw(st.integers(1, 3))):
        program = draw(changed(program, number))
        found.append(draw(stages(program, known, number)))
        known = sorted({*known, *(n.name for n in program)})
    return tuple(found)


# -- provider ------------------------------------------------------------------------------------------


@dataclass
class FuzzWorld(World):
    """faults: by ``verb name``. unheard: ids whose creation nobody was told of."""

    faults: dict[str, str] = field(default_factory=dict)
    unheard: set[str] = field(default_factory=set)

    def ids(self) -> set[str]:
        return {id_ for _, id_ in self.things}

    def fault(self, verb: str, urn: str) -> str:
        return self.faults.get(f"{verb} {name_of(urn)}", "")


def _refused() -> TickoverError:
    return TickoverError("refused", "The cloud refused", "It said no.")


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("outcome-unknown", "The call was cut off", "Nobody can say what became of it.")


class FuzzProvider(ScriptedProvider):
    """unknown: it had its effect; lost: it had none, and neither is known. Reads tell the inputs too."""

    def __init__(self, world: FuzzWorld) -> None:
        super().__init__(world)
        self._fuzz = world

    async def check(self, request: Any) -> Any:
        if self._fuzz.fault("check", request.urn):
            raise _refused()
        return await super().check(request)

    async def diff(self, request: Any) -> Any:
        if self._fuzz.fault("diff", request.urn):
            raise _refused()
        return await super().diff(request)

    async def create(self, request: CreateRequest) -> CreateResult:
        fault = self._fuzz.fault("create", request.urn)
        if fault == "fail":
            raise _refused()
        if fault == "lost":
            raise _unknown()
        made = await super().create(request)
        if fault == "unknown":
            self._fuzz.unheard.add(made.id)
            raise _unknown()
        if fault == "partial":
            raise InitFailed(made.id, made.outputs, ("not ready",))
        return made

    async def update(self, request: UpdateRequest) -> UpdateResult:
        fault = self._fuzz.fault("update", request.urn)
        if fault == "fail" or (self._region, request.id) not in self._fuzz.things:
            raise _refused()
        if fault == "lost":
            raise _unknown()
        result = await super().update(request)
        if fault == "unknown":
            raise _unknown()
        if fault == "partial":
            raise InitFailed(request.id, result.outputs, ("not ready",))
        return result

    async def delete(self, request: DeleteRequest) -> None:
        fault = self._fuzz.fault("delete", request.urn)
        if fault == "fail":
            raise _refused()
        if fault == "lost":
            raise _unknown()
        await super().delete(request)
        if fault == "unknown":
            raise _unknown()

    async def read(self, request: ReadRequest) -> ReadResult:
        fault = self._fuzz.fault("read", request.urn)
        if fault == "fail":
            raise _refused()
        found = await super().read(request)
        if not found.id:
            return found
        inputs = {k: v for k, v in reveal(found.outputs).items() if k != "token"}
        if fault == "partial":
            raise InitFailed(request.id, found.outputs, ("not ready",), inputs)
        return ReadResult(request.id, found.outputs, inputs)
