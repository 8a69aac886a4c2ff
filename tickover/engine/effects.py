"""Provider calls with an effect: each is on disk before and after, and nothing new begins once one failed.

Owns: `Canceller`, `Effects` (events, journal, limits: what apply, delete and destroy share). Promises: a
call that ended has its ticket settled, whatever it raised; only a call that was cut off stays pending; a
step without a call is noted. Never: decides what is to be done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tickover.engine import wire
from tickover.engine.events import Event, StepFailed, StepFinished, StepStarted
from tickover.engine.failures import Failures, explained, without_secrets
from tickover.engine.hooks import ON_ERROR, Hooks, has_hooks
from tickover.engine.journal import Journal
from tickover.engine.monitor import Stopping
from tickover.engine.plan import Op, Step
from tickover.engine.plugins.errors import OutcomeUnknown
from tickover.engine.provider import DeleteRequest, InitFailed, Severity
from tickover.engine.providers import ProviderEntries, Providers
from tickover.engine.state import CustomTimeouts, ResourceState
from tickover.engine.statevalue import rfc3339
from tickover.engine.urn import is_provider_type
from tickover.engine.values import PropertyMap
from tickover.errors import Exit, TickoverError


@dataclass(slots=True)
class Canceller:
    """Asks a running operation to end: once finishes what runs and saves, twice stops at once."""

    presses: int = 0
    on_press: list[Callable[[int], None]] = field(default_factory=list)

    def cancel(self) -> None:
        self.presses += 1
        for tell in list(self.on_press):
            tell(self.presses)

    @property
    def is_cancelled(self) -> bool:
        return self.presses > 0


@dataclass(slots=True)
class Effects:
    """Does steps. running: calls that have begun and not ended; idle: set while there are none.

    keeps_going: what does not need a failed resource is still done. done: steps that ended well.
    """

    journal: Journal
    providers: Providers
    failures: Failures
    canceller: Canceller
    parallel: asyncio.Semaphore
    emit: Callable[[Event], None]
    clock: Callable[[], float]  # seconds since the operation began
    hooks: Hooks
    keeps_going: bool = False
    done: list[Step] = field(default_factory=list)
    running: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    async def perform(
        self,
        step: Step,
        subject: ResourceState,
        call: Callable[[], Awaitable[ResourceState | None]],
        operation: str = "",
    ) -> ResourceState | None:
        """One provider call. subject: what the journal says is being worked on. operation: create, update or
        delete, where error hooks may ask for another try. Raises after a failure."""
        async with self.parallel:
            self.check_stop()
            self.running += 1
            self.idle.clear()
            try:
                return await self._performed(step, subject, call, operation)
            finally:
                self.running -= 1
                if not self.running:
                    self.idle.set()

    async def _performed(
        self,
        step: Step,
        subject: ResourceState,
        call: Callable[[], Awaitable[ResourceState | None]],
        operation: str,
    ) -> ResourceState | None:
        begun = time.monotonic()
        ticket = await self._recorded(self.journal.begin(step.op, subject, step.old))
        self.emit(StepStarted(self.clock(), step))
        try:
            result = await self._tried(step, subject, call, operation)
        except InitFailed as partial:
            await self._done(ticket, step, _partial(step, subject, partial))
            what = "; ".join(partial.reasons)
            error = TickoverError(
                "resource-failed", "Resource is not as asked", what, step.urn, exit_code=Exit.RESOURCE
            )
            raise self._failed(step, begun, explained(step.urn, error, subject.inputs)) from partial
        except OutcomeUnknown as error:  # the ticket stays open: it may have had its effect
            report = explained(step.urn, error, subject.inputs, subject.outputs)
            raise self._failed(step, begun, report) from error
        except Exception as error:
            await self._recorded(self.journal.failed(ticket))
            report = explained(step.urn, error, subject.inputs, subject.outputs)
            raise self._failed(step, begun, report) from error
        await self._done(ticket, step, result)
        self.done.append(step if result is None else replace(step, new=result))
        self.emit(StepFinished(self.clock(), step, time.monotonic() - begun))
        return result

    async def _tried(
        self,
        step: Step,
        subject: ResourceState,
        call: Callable[[], Awaitable[ResourceState | None]],
        operation: str,
    ) -> ResourceState | None:
        """The call, as often as the error hooks of the resource ask for."""
        errors: list[str] = []
        while True:
            try:
                return await call()
            except (InitFailed, TickoverError) as error:
                if isinstance(error, OutcomeUnknown) or not operation or not has_hooks(subject, ON_ERROR):
                    raise
                errors.insert(0, error.detail if isinstance(error, TickoverError) else str(error))
                new = None if operation == "delete" else subject
                old = None if operation == "create" else step.old
                if not await self.hooks.wants_retry(operation, subject, old, new, errors):
                    raise
                message = f"retrying {operation}, as an error hook asks for (try {len(errors) + 1})"
                self.failures.say(Severity.WARNING, step.urn, message)

    async def _done(self, ticket: int, step: Step, result: ResourceState | None) -> None:
        try:
            await self._recorded(self.journal.done(ticket, result))
        except Stopping:  # the final save may still succeed: what was done is not to be forgotten
            self.journal.snapshot.finish(step.op, result, step.old, ticket)
            raise

    async def _recorded(self, entry: Awaitable[int | None]) -> int:
        """Wait for an entry of the journal; without one nothing further may be done."""
        try:
            return await entry or 0
        except TickoverError as error:
            self._lost(error)
            raise Stopping("the state cannot be written") from error

    def _lost(self, error: TickoverError) -> None:
        self.failures.add("", error)

    def note(self, step: Step, resource: ResourceState | None) -> None:
        """A step that needs no provider."""
        if step.op is not Op.SAME:
            self.emit(StepStarted(self.clock(), step))
        try:
            self.journal.note(step.op, resource, step.old)
        except TickoverError as error:
            self._lost(error)
            raise Stopping("the state cannot be written") from error
        self.done.append(step)
        if step.op is not Op.SAME:
            self.emit(StepFinished(self.clock(), step, 0.0))

    def check_stop(self) -> None:
        """Raises Stopping if nothing new may be begun."""
        if self.canceller.is_cancelled:
            raise Stopping("the operation was cancelled")
        if self.failures and not self.keeps_going:
            raise Stopping("another resource failed")

    async def delete(
        self,
        step: Step,
        entries: ProviderEntries,
        leaves: ResourceState | None = None,
        only_forget: bool = False,
    ) -> bool:
        """Delete step.old. leaves: what the state keeps of it. False if it failed (and was reported)."""
        old = step.old
        assert old is not None
        timeouts = old.custom_timeouts or CustomTimeouts()

        async def call() -> ResourceState | None:
            provider = await self.providers.of_state(old, entries)
            request = DeleteRequest(old.urn, old.id, old.inputs, old.outputs, timeouts.delete)
            await provider.delete(request)
            return leaves

        try:
            if has_hooks(old, "BeforeDelete"):
                self.check_stop()
                await self.hooks.run("BeforeDelete", old, old, None)
            if needs_provider(old) and not only_forget:
                await self.perform(step, old, call, "delete")
            else:
                self.check_stop()
                self.note(step, leaves)
            if has_hooks(old, "AfterDelete"):
                await self.hooks.run("AfterDelete", old, old, None)
        except TickoverError as error:
            self.failures.add(old.urn, error)
            return False
        except Stopping:
            return False
        return True

    def _failed(self, step: Step, begun: float, error: TickoverError) -> TickoverError:
        self.emit(StepFailed(self.clock(), step, time.monotonic() - begun, str(error)))
        self.failures.add(step.urn, error)
        return error


def _partial(step: Step, subject: ResourceState, partial: InitFailed) -> ResourceState:
    """What exists after a partial success; a partly failed update keeps the old inputs."""
    inputs = subject.inputs
    if step.op is Op.UPDATE and step.old is not None:
        inputs = step.old.inputs
    elif partial.inputs is not None:
        inputs = wire.remark_secrets(partial.inputs, subject.inputs)
    outputs = secret_outputs(partial.outputs, subject.inputs, subject.additional_secret_outputs)
    reasons = tuple(without_secrets(reason, subject.inputs) for reason in partial.reasons)
    return replace(subject, id=partial.id, inputs=inputs, outputs=outputs, init_errors=reasons)


def secret_outputs(outputs: PropertyMap, inputs: PropertyMap, names: tuple[str, ...]) -> PropertyMap:
    """outputs, secret where the input of that name is, or where names says so."""
    found = wire.remark_secrets(outputs, inputs)
    return {k: wire.as_secret(v) if k in names else v for k, v in found.items()}


def needs_provider(resource: ResourceState) -> bool:
    """False where a removal only forgets: components, providers, what is external or retained."""
    return (
        resource.custom
        and not resource.external
        and not resource.retain_on_delete
        and not resource.pending_replacement
        and not is_provider_type(resource.type)
    )


def now_rfc3339() -> str:
    """The moment as a state has it."""
    return rfc3339(datetime.now(UTC))
