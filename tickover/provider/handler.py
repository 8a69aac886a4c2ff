"""What all FC resource types have in common: the provider verbs for one object with one id.

Owns: check, diff, the preview outputs, and the order create → settle, update → settle, adopt, read, delete.
Promises: an object that exists but is not as asked raises `InitFailed`, never a plain error; deleting what
is not there succeeds. Never: knows a particular type; the subclasses are tables with exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tickover.engine.provider import (
    CheckFailure,
    CheckRequest,
    CheckResult,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    DiffRequest,
    DiffResult,
    InitFailed,
    ReadRequest,
    ReadResult,
    Severity,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import UNKNOWN, PropertyMap, Unknown, reveal
from tickover.errors import TickoverError
from tickover.fc.base import FcModel
from tickover.fc.client import Unreachable
from tickover.fc.errors import FcError
from tickover.fc.validate import violations
from tickover.provider import shape
from tickover.provider.faults import is_existing, is_missing
from tickover.provider.run import NotReady, Run, reason_of


class Handler:
    """The verbs of one resource type.

    noun: what people call it. ids: the inputs that name it, in path order. query_ids: those of them that
    travel as query parameters. replaces: inputs that cannot be changed in place; None means none can.
    stable, volatile: outputs that only the API knows, by whether an update may change them.
    """

    token: ClassVar[str]
    noun: ClassVar[str]
    model: ClassVar[type[FcModel]]
    ids: ClassVar[tuple[str, ...]]
    query_ids: ClassVar[tuple[str, ...]] = ()
    replaces: ClassVar[frozenset[str] | None]
    stable: ClassVar[tuple[str, ...]] = ()
    volatile: ClassVar[tuple[str, ...]] = ()
    default_seconds: ClassVar[float] = 300.0
    # Operation names of the client; empty where FC has no such call.
    create_operation: ClassVar[str]
    get_operation: ClassVar[str]
    update_operation: ClassVar[str] = ""
    delete_operation: ClassVar[str]

    # -- pure -----------------------------------------------------------------------------------------

    @property
    def input_names(self) -> tuple[str, ...]:
        """The wire names of all inputs."""
        return tuple(shape.wire_names(self.model).values())

    @property
    def output_names(self) -> tuple[str, ...]:
        """The wire names of all outputs."""
        return (*self.input_names, *self.stable, *self.volatile)

    def id_of(self, inputs: PropertyMap) -> str:
        """The Pulumi id: the naming inputs joined by ``/``; empty while one is unknown."""
        parts = [reveal(inputs.get(name)) for name in self.ids]
        return "/".join(parts) if all(isinstance(p, str) for p in parts) else ""

    def describe(self, id: str) -> str:
        """For messages: ``function chat-dev``."""
        return f"{self.noun} {id}".strip()

    def check(self, request: CheckRequest) -> CheckResult:
        """The inputs under their wire names, and everything that FC would refuse."""
        inputs = self.with_secrets(shape.to_wire_names(self.model, request.news))
        known, unknown = shape.known_part(inputs)
        failures = [CheckFailure(v.path, v.message) for v in violations(self.model, known, unknown)]
        said = {failure.property for failure in failures}
        failures += [
            failure
            for failure in self.further_failures(known)
            if failure.property not in said
            and not any(shape.touches(failure.property, path) for path in unknown)
        ]
        return CheckResult(inputs, tuple(failures))

    def with_secrets(self, inputs: PropertyMap) -> PropertyMap:
        """The inputs with what is secret by its nature marked so."""
        return shape.mark_secrets(self.model, inputs)

    def further_failures(self, known: Mapping[str, Any]) -> tuple[CheckFailure, ...]:
        """Rules that the model cannot hold."""
        return ()

    def only_on_host(self, known: Mapping[str, Any]) -> tuple[CheckFailure, ...]:
        """What a host of tickover serves and the cloud does not."""
        return ()

    def diff(self, request: DiffRequest) -> DiffResult:
        """What differs between the old and the new inputs, and whether it can be changed in place."""
        names = set(self.input_names)
        old = request.old_inputs or {k: v for k, v in request.old_outputs.items() if k in names}
        found = shape.detailed_diff(old, request.news, self.replaces)
        detailed = {
            path: change
            for path, change in found.items()
            if not any(shape.touches(path, ignored) for ignored in request.ignore_changes)
        }
        replaces = tuple(sorted({_top(p) for p, change in detailed.items() if change.kind.is_replace}))
        return DiffResult(
            changes=bool(detailed),
            replaces=replaces,
            delete_before_replace=bool(replaces) and self.must_delete_first(old, request.news),
            detailed=detailed,
            stables=() if replaces else (*self.ids, *self.stable),
            warnings=self.warnings(old, request.news) if detailed and not replaces else (),
        )

    def must_delete_first(self, old: PropertyMap, new: PropertyMap) -> bool:
        """True if old and new cannot exist side by side: they have the same name."""
        return all(shape.same(old.get(name), new.get(name)) for name in self.ids)

    def warnings(self, old: PropertyMap, new: PropertyMap) -> tuple[str, ...]:
        """What a person should know before this update."""
        return ()

    def preview(self, news: PropertyMap, old_outputs: PropertyMap | None = None) -> PropertyMap:
        """The outputs that can be told in advance, the others unknown."""
        computed: PropertyMap = dict.fromkeys((*self.stable, *self.volatile), UNKNOWN)
        if old_outputs is not None:
            computed |= {name: old_outputs[name] for name in self.stable if name in old_outputs}
        return {**news, **computed}

    def outputs(self, inputs: PropertyMap, answer: Mapping[str, Any]) -> PropertyMap:
        """What to remember: our inputs, and what only the API knows (its defaults included)."""
        empty: tuple[Any, ...] = (None, [], {})
        told = {n: answer[n] for n in self.output_names if n not in inputs and answer.get(n) not in empty}
        return {**inputs, **self.with_secrets(told)}

    def body(self, inputs: PropertyMap) -> dict[str, Any]:
        """The body of a create call: the inputs that are not in the path."""
        return {k: v for k, v in reveal(inputs).items() if k not in self.model.in_path and v is not None}

    def update_body(self, run: Run, request: UpdateRequest) -> dict[str, Any]:
        """The body of an update call; fields taken out of the program are taken away."""
        fixed = {*self.ids, *self.model.in_path, *self.model.create_only}
        body = {k: v for k, v in reveal(request.news).items() if k not in fixed and v is not None}
        gone = sorted(request.old_inputs.keys() - request.news.keys() - fixed)
        # A host takes null for "unset"; the cloud is told the documented default instead.
        cleared = {k: None if run.target == "host" else self.model.defaults.get(k) for k in gone}
        return {**cleared, **body}

    # -- calls ----------------------------------------------------------------------------------------

    def _path(self, id: str) -> tuple[tuple[str, ...], dict[str, Any]]:
        named = dict(zip(self.ids, id.split("/"), strict=True))
        query: dict[str, Any] = {name: named.pop(name) for name in self.query_ids}
        return tuple(named.values()), query

    async def get(self, run: Run, id: str) -> dict[str, Any] | None:
        """The object as the API has it; None if it is not there."""
        path, query = self._path(id)
        try:
            return await run.call(self.get_operation, *path, **query)
        except FcError as error:
            if is_missing(error):
                return None
            raise

    async def make(self, run: Run, inputs: PropertyMap) -> tuple[str, dict[str, Any]]:
        """Create the object, or adopt an equal one that a run cut short has left. → id and answer."""
        id = self.id_of(inputs)
        path, _ = self._path(id)
        try:
            return id, await run.call(self.create_operation, *path[:-1], body=self.body(inputs))
        except FcError as error:
            if not is_existing(error):
                raise
            there = await self.get(run, id)
            if there is None:
                raise
            if not shape.same(shape.managed(inputs, there), inputs):
                raise self._taken(id) from error
        run.say(
            f"{self.describe(id)} was there already, just as declared; it is managed from now on",
            severity=Severity.WARNING,
            ephemeral=False,
        )
        return id, there

    def _taken(self, id: str) -> TickoverError:
        what = self.describe(id)
        return TickoverError(
            "name-taken",
            "Name is taken",
            f"There is a {what} already and it differs from what is declared. It belongs to another "
            "resource, stack or person. Give yours another name, or delete the other one.",
            address=what,
        )

    async def change(self, run: Run, request: UpdateRequest) -> dict[str, Any]:
        """Change the object in place."""
        path, query = self._path(request.id)
        return await run.call(self.update_operation, *path, body=self.update_body(run, request), **query)

    async def settle(self, run: Run, id: str, inputs: PropertyMap, answer: dict[str, Any]) -> dict[str, Any]:
        """Wait until the object is as asked. → the last answer. Raises NotReady."""
        return answer

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        id, answer = await self.make(run, request.news)
        return CreateResult(id, await self._settled(run, id, request.news, answer))

    async def update(self, run: Run, request: UpdateRequest) -> UpdateResult:
        answer = await self.change(run, request)
        return UpdateResult(await self._settled(run, request.id, request.news, answer))

    async def _settled(self, run: Run, id: str, inputs: PropertyMap, answer: dict[str, Any]) -> PropertyMap:
        try:
            return self.outputs(inputs, await self.settle(run, id, inputs, answer))
        except NotReady as error:
            known = {**answer, **error.answer}
            raise InitFailed(id, self.outputs(inputs, known), (error.reason,), inputs) from error
        except (FcError, Unreachable) as error:
            raise InitFailed(id, self.outputs(inputs, answer), (reason_of(error),), inputs) from error

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        there = await self.get(run, request.id)
        if there is None:
            return ReadResult("", {}, {})
        named = dict(zip(self.ids, request.id.split("/"), strict=False))
        if request.inputs:
            inputs = shape.managed(request.inputs, {**named, **there})
        else:  # an import: all that FC says and a program could have said
            told = {**named, **there}
            inputs = {n: told[n] for n in self.input_names if told.get(n) is not None}
        inputs = self.with_secrets(inputs)
        return ReadResult(request.id, self.outputs(inputs, there), inputs)

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        path, query = self._path(request.id)
        try:
            await run.call(self.delete_operation, *path, **query)
        except FcError as error:
            if not is_missing(error):
                raise


def _top(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]


def is_unknown(value: Any) -> bool:
    """True for an unknown, also inside a Secret."""
    return isinstance(reveal(value), Unknown)
