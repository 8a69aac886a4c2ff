"""One operation on one stack: what all of them share.

Owns: lock, loaded state, providers, journal and events of an operation. Promises: providers and policy packs
end with it, the lock is released. Never: knows which operation it is beyond its name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from tickover.engine import leftovers
from tickover.engine.analyzer import PolicyPacks
from tickover.engine.builtin import PACKAGE, Builtin
from tickover.engine.effects import Effects
from tickover.engine.events import (
    Diagnostic,
    Event,
    OperationFinished,
    PhaseStarted,
)
from tickover.engine.failures import Failures
from tickover.engine.goal import Goal
from tickover.engine.history import UpdateRecord
from tickover.engine.hooks import Hooks
from tickover.engine.otherstacks import SameBackend
from tickover.engine.packages import PluginSource
from tickover.engine.plan import Plan, PolicyViolation, Step, counts_of
from tickover.engine.provider import Severity
from tickover.engine.providers import Providers
from tickover.engine.recovery import Loaded
from tickover.engine.request import Outcome, Request
from tickover.engine.savedplan import Binding
from tickover.engine.secrets import Keyring
from tickover.engine.stackconfig import load_stack_config
from tickover.engine.state import Deployment
from tickover.engine.urn import STACK_TYPE
from tickover.errors import Exit, TickoverError

# How long calls that were told to give up may take to say what they have done, before they are cut off.
GRACE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Operation:
    """The running one. deployment: the state as it is now known. plan: as far as it is made."""

    request: Request
    name: str
    providers: Providers
    failures: Failures
    begun: float
    begun_at: int
    keyring: Keyring
    plugins: PluginSource | None = None
    packs: PolicyPacks | None = None
    goals: Mapping[str, Goal] = field(default_factory=dict)
    loaded: Loaded | None = None
    seed: str = ""
    deployment: Deployment = field(default_factory=Deployment)
    effects: Effects | None = None
    plan: Plan | None = None
    violations: tuple[PolicyViolation, ...] = ()
    leftovers: bool = False
    messages: list[str] = field(default_factory=list)
    config: tuple[dict[str, str], tuple[str, ...]] | None = None
    binding: Binding | None = None
    _task: asyncio.Task[object] | None = None
    _stopper: asyncio.Task[None] | None = None

    # -- life -----------------------------------------------------------------------------------------

    @classmethod
    async def run(
        cls,
        request: Request,
        name: str,
        body: Callable[[Operation], Awaitable[Outcome]],
        locks: bool = False,
    ) -> Outcome:
        """Do body within an operation; what a second press cut off ends as a cancelled outcome."""
        async with cls._begun(request, name, locks) as op:
            try:
                return await body(op)
            except asyncio.CancelledError:
                if request.canceller.presses < 2:
                    raise
                if op._task is not None:
                    op._task.uncancel()
                return op._stopped()

    @classmethod
    @asynccontextmanager
    async def _begun(cls, request: Request, name: str, locks: bool) -> AsyncIterator[Operation]:
        async with AsyncExitStack() as stack:
            lock_notices: tuple[str, ...] = ()
            if locks:
                lock = stack.enter_context(request.backend.lock(request.project.name, request.stack, name))
                lock_notices = tuple(lock.notices)
            op = cls._made(request, name)
            op._task = asyncio.current_task()
            for notice in lock_notices:
                op.say(Severity.WARNING, "", notice)
            request.canceller.on_press.append(op._pressed)
            stack.callback(request.canceller.on_press.remove, op._pressed)
            stack.push_async_callback(op.close)
            yield op

    @classmethod
    def _made(cls, request: Request, name: str) -> Operation:
        begun = time.monotonic()
        messages: list[str] = []

        def say(severity: Severity, urn: str, message: str, *, ephemeral: bool = False) -> None:
            if severity in (Severity.WARNING, Severity.ERROR) and not ephemeral:
                messages.append(message)
            request.on_event(Diagnostic(time.monotonic() - begun, severity, message, urn, ephemeral))

        config = load_stack_config(request.project, request.stack)
        plugins = request.plugins() if request.plugins is not None else None
        providers = Providers(request.providers, say, plugins)
        providers.add_builtin(PACKAGE, lambda _: Builtin(SameBackend(request), lambda urn: None))
        return cls(
            request=request,
            name=name,
            providers=providers,
            plugins=plugins,
            failures=Failures(say),
            messages=messages,
            begun=begun,
            begun_at=int(time.time()),
            keyring=Keyring(request.passphrase, config.salt),
        )

    async def close(self) -> None:
        if self._stopper is not None:
            self._stopper.cancel()
        await self.providers.close()
        if self.plugins is not None:
            await self.plugins.close()
        if self.effects is not None:
            self.effects.journal.close()

    async def reset_providers(self) -> None:
        """Begin the next phase with providers configured anew."""
        await self.providers.close()

    def _pressed(self, presses: int) -> None:
        if presses == 2:
            self._stopper = asyncio.get_running_loop().create_task(self._stop())
        elif presses > 2 and self._task is not None:
            self._task.cancel()

    async def _stop(self) -> None:
        """Stop at once, but hear what the calls that run have to say if they give up soon."""
        await self.providers.cancel()
        if self.effects is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.effects.idle.wait(), GRACE_SECONDS)
        if self._task is not None:
            self._task.cancel()

    def _stopped(self) -> Outcome:
        """The outcome after a second press. The journal stays, for the next operation to go on from."""
        pending = [] if self.effects is None else self.effects.journal.deployment().pending_operations
        if pending:
            names = "".join(f"\n  {p.resource.urn} ({p.type.value})" for p in pending)
            self.say(
                Severity.ERROR,
                "",
                "Stopped while these were being worked on; they may exist, or be half changed, without the "
                f"state knowing it:{names}\nThat is noted: the next preview names them, and the next up goes "
                "on from there.",
            )
        return self.outcome(self.plan or self.plan_of((), {}, {}))

    def clock(self) -> float:
        return time.monotonic() - self.begun

    def emit(self, event: Event) -> None:
        self.request.on_event(event)

    def say(self, severity: Severity, urn: str, message: str, ephemeral: bool = False) -> None:
        if severity in (Severity.WARNING, Severity.ERROR) and not ephemeral:
            self.messages.append(message)
        self.emit(Diagnostic(self.clock(), severity, message, urn, ephemeral))

    # -- state ----------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the state; an interrupted run's journal is brought in, and its open calls are named."""
        if self.loaded is not None:
            return
        self.emit(PhaseStarted(self.clock(), "reading state"))
        request = self.request
        loaded = request.backend.load(request.project.name, request.stack, self.keyring)
        self.seed = f"{request.backend!r}\0{loaded.digest}"
        for notice in loaded.notices:
            self.say(Severity.WARNING, "", notice)
        deployment = leftovers.pruned(loaded.deployment)
        for urn, message in leftovers.warnings(deployment, request.stack):
            self.say(Severity.WARNING, urn, message)
        self.leftovers = loaded.recovered or deployment != loaded.deployment
        self.loaded, self.deployment = loaded, deployment

    async def settle_leftovers(self, must: bool) -> None:
        """Look again at what an interrupted run was changing, in memory. must: that has to succeed."""
        found = await leftovers.settled(self.deployment, self.providers, self.failures, must)
        if found.has_changed:
            self.deployment, self.leftovers = found.deployment, True
            await self.reset_providers()

    def stack_outputs(self) -> dict[str, object]:
        """The stack's outputs as the state has them."""
        found = (r.outputs for r in self.deployment.resources if r.type == STACK_TYPE and not r.delete)
        return dict(next(found, {}))

    def replace_state(self, deployment: Deployment) -> None:
        """Save a deployment that no provider call made (a refresh, a recovery)."""
        request = self.request
        request.backend.save(request.project.name, request.stack, deployment, self.keyring)
        self.loaded = request.backend.load(request.project.name, request.stack, self.keyring)
        self.deployment = self.loaded.deployment

    def drop_all_but_creations(self) -> None:
        """Forget half-done changes of what is going to be deleted whatever its condition."""
        creations = leftovers.open_creations(self.deployment)
        self.deployment = replace(self.deployment, pending_operations=creations)

    def open_effects(self, hooks: Hooks) -> Effects:
        """The journal and what writes to it; a state that is other than the stored one is saved first."""
        request = self.request
        if self.loaded is None or self.loaded.recovered or self.deployment != self.loaded.deployment:
            self.replace_state(self.deployment)
        assert self.loaded is not None
        journal = request.backend.open_journal(request.project.name, request.stack, self.loaded, self.keyring)
        self.effects = Effects(
            journal=journal,
            providers=self.providers,
            failures=self.failures,
            canceller=request.canceller,
            parallel=asyncio.Semaphore(max(request.parallel, 1)),
            emit=self.emit,
            clock=self.clock,
            hooks=hooks,
            keeps_going=request.continue_on_error,
        )
        return self.effects

    def plan_of(
        self, steps: Sequence[Step], outputs: dict[str, object], old_outputs: dict[str, object]
    ) -> Plan:
        return Plan(
            project=self.request.project.name,
            stack=self.request.stack,
            steps=tuple(steps),
            outputs=outputs,
            old_outputs=old_outputs,
            warnings=tuple(self.failures.warnings),
        )

    @property
    def is_blocked(self) -> bool:
        """True if a policy forbids the plan."""
        return any(v.level in ("mandatory", "remediate") for v in self.violations)

    # -- ends -------------------------------------------------------------------------------------------

    def finish(self, plan: Plan, kind: str, done: Sequence[Step] = ()) -> Outcome:
        """Save what the journal says, record the update, and report."""
        request = self.request
        if self._save_effects():
            failed = bool(self.failures) or request.canceller.is_cancelled
            request.backend.record_update(
                request.project.name,
                request.stack,
                UpdateRecord(
                    kind=kind,
                    start_time=self.begun_at,
                    end_time=int(time.time()),
                    result="failed" if failed else "succeeded",
                    message=request.message,
                    resource_changes=counts_of(done) or self.done_counts(),
                ),
            )
        return self.outcome(plan, outputs=self.stack_outputs(), counts=counts_of(done) or self.done_counts())

    def done_counts(self) -> dict[str, int]:
        """Counts of what was done, by Pulumi's summary words."""
        return {} if self.effects is None else counts_of(self.effects.done)

    def _save_effects(self) -> bool:
        """Write the state. If that fails, the one before and the journal stay; the next load joins them."""
        if self.effects is None:
            return True
        self.emit(PhaseStarted(self.clock(), "saving"))
        request, journal = self.request, self.effects.journal
        self.deployment = leftovers.pruned(journal.deployment())
        try:
            request.backend.save(request.project.name, request.stack, self.deployment, self.keyring, journal)
        except TickoverError as error:
            self.failures.add("", error)
            return False
        return True

    def outcome(
        self,
        plan: Plan,
        *,
        unchanged: bool = False,
        declined: bool = False,
        outputs: dict[str, object] | None = None,
        counts: dict[str, int] | None = None,
    ) -> Outcome:
        """The end of an operation as data, and its last event."""
        result, code = "succeeded", Exit.OK
        if self.failures:
            result, code = "failed", self.failures.exit_code
        elif self.is_blocked:
            result, code = "failed", Exit.POLICY
        elif declined or self.request.canceller.is_cancelled:
            result, code = "cancelled", Exit.CANCELLED
        shown = outputs if outputs is not None else dict(plan.old_outputs if unchanged else plan.outputs)
        done = plan.counts if counts is None else counts
        self.emit(OperationFinished(self.clock(), self.name, result, done, shown))
        return Outcome(plan, result, shown, code, tuple(self.messages), self.goals, self.binding)
