"""One operation on one stack: what all of them share.

Owns: lock, loaded state, providers, journal and events of an operation. Promises: providers and policy packs
end with it, the lock is released. Never: knows which operation it is beyond its name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tickover.engine.analyzer import AnalyzedResource, PolicyPacks
from tickover.engine.backend import FileBackend
from tickover.engine.events import (
    Diagnostic,
    Event,
    EventSink,
    OperationFinished,
    PhaseStarted,
    PlanReady,
    PolicyReported,
    ProgramOutput,
    StepPlanned,
)
from tickover.engine.execute import Applier, Canceller, Effects
from tickover.engine.failures import Failures
from tickover.engine.goal import Goal
from tickover.engine.history import UpdateRecord
from tickover.engine.journal import Journal
from tickover.engine.monitor import EngineLog, Monitor
from tickover.engine.plan import Plan, PolicyViolation, Step
from tickover.engine.planner import Planner, Prior
from tickover.engine.program import ProgramRun, run_program
from tickover.engine.project import Project
from tickover.engine.provider import ProviderFactory, Severity
from tickover.engine.providers import Providers
from tickover.engine.recovery import Loaded
from tickover.engine.registrar import ProgramRegistrar, Worker
from tickover.engine.removals import refuse_protected, removals, remove
from tickover.engine.secrets import Keyring
from tickover.engine.stackconfig import config_for_program, load_stack_config
from tickover.engine.state import Deployment
from tickover.engine.urn import STACK_TYPE
from tickover.errors import Exit, TickoverError


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. providers: in-process packages by name. passphrase: called when a secret is met."""

    project: Project
    stack: str
    backend: FileBackend
    providers: Mapping[str, ProviderFactory]
    on_event: EventSink
    passphrase: Callable[[], str]
    parallel: int = 16
    refresh: bool = False
    policy_packs: tuple[Path, ...] = ()
    policy_config: Path | None = None
    canceller: Canceller = field(default_factory=Canceller)


@dataclass(frozen=True, slots=True)
class Outcome:
    """result: succeeded | failed | cancelled. outputs: the stack's, with markers."""

    plan: Plan
    result: str
    outputs: dict[str, object]
    exit_code: Exit
    diagnostics: tuple[str, ...] = ()


@dataclass(slots=True)
class Operation:
    """The running one. deployment: the state as it is now known."""

    request: Request
    name: str
    providers: Providers
    failures: Failures
    begun: float
    begun_at: int
    keyring: Keyring
    loaded: Loaded | None = None
    deployment: Deployment = field(default_factory=Deployment)
    journal: Journal | None = None
    violations: tuple[PolicyViolation, ...] = ()
    outputs: dict[str, object] = field(default_factory=dict)
    leftovers: bool = False
    messages: list[str] = field(default_factory=list)
    _config: tuple[dict[str, str], tuple[str, ...]] | None = None

    # -- life -----------------------------------------------------------------------------------------

    @classmethod
    @asynccontextmanager
    async def begin(cls, request: Request, name: str, locks: bool = False) -> AsyncIterator[Operation]:
        async with AsyncExitStack() as stack:
            lock_notices: tuple[str, ...] = ()
            if locks:
                lock = stack.enter_context(request.backend.lock(request.project.name, request.stack, name))
                lock_notices = tuple(lock.notices)
            op = cls._made(request, name)
            for notice in lock_notices:
                op.say(Severity.WARNING, "", notice)
            request.canceller.on_press.append(op._pressed)
            stack.callback(request.canceller.on_press.remove, op._pressed)
            stack.push_async_callback(op.close)
            yield op

    @classmethod
    def _made(cls, request: Request, name: str) -> Operation:
        begun = time.monotonic()

        def say(severity: Severity, urn: str, message: str, *, ephemeral: bool = False) -> None:
            at = time.monotonic() - begun
            request.on_event(Diagnostic(at, severity, message, urn, ephemeral))

        config = load_stack_config(request.project, request.stack)
        return cls(
            request=request,
            name=name,
            providers=Providers(request.providers, say),
            failures=Failures(lambda severity, urn, message: say(severity, urn, message)),
            begun=begun,
            begun_at=int(time.time()),
            keyring=Keyring(request.passphrase, config.salt),
        )

    async def close(self) -> None:
        await self.providers.close()
        if self.journal is not None:
            self.journal.close()

    async def reset_providers(self) -> None:
        """Begin the next phase with providers configured anew."""
        await self.providers.close()

    def _pressed(self, presses: int) -> None:
        if presses > 1:
            for task in asyncio.all_tasks():
                task.cancel()

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
        self.emit(PhaseStarted(self.clock(), "reading state"))
        request = self.request
        loaded = request.backend.load(request.project.name, request.stack, self.keyring)
        for notice in loaded.notices:
            self.say(Severity.WARNING, "", notice)
        for pending in loaded.deployment.pending_operations:
            self.say(
                Severity.WARNING,
                pending.resource.urn,
                f"an earlier run was interrupted while {pending.type.value} this; it is looked at again",
            )
        self.leftovers = loaded.recovered or bool(loaded.deployment.pending_operations)
        self.loaded, self.deployment = loaded, loaded.deployment

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

    def open_effects(self) -> Effects:
        """The journal and what writes to it; a state that was recovered is saved first."""
        request = self.request
        if self.loaded is not None and (self.loaded.recovered or self.deployment.pending_operations):
            self.replace_state(replace(self.deployment, pending_operations=()))
        assert self.loaded is not None
        self.journal = request.backend.open_journal(
            request.project.name, request.stack, self.loaded, self.keyring
        )
        return Effects(
            journal=self.journal,
            providers=self.providers,
            failures=self.failures,
            canceller=request.canceller,
            parallel=asyncio.Semaphore(max(request.parallel, 1)),
            emit=self.emit,
            clock=self.clock,
        )

    # -- the program ------------------------------------------------------------------------------------

    def _program(self, dry_run: bool) -> ProgramRun:
        request = self.request
        if self._config is None:
            stack_config = load_stack_config(request.project, request.stack)
            self._config = config_for_program(request.project, stack_config, self.keyring)
        return ProgramRun(
            root=request.project.root,
            main=request.project.main,
            project=request.project.name,
            stack=request.stack,
            config=self._config[0],
            secret_keys=self._config[1],
            parallel=request.parallel,
            dry_run=dry_run,
        )

    async def _run(self, run: ProgramRun, worker: Worker) -> ProgramRegistrar:
        registrar = ProgramRegistrar(run.project, run.stack, run.config, worker)
        loop = asyncio.get_running_loop()
        monitor = Monitor(run, registrar, loop)
        log = EngineLog(self.say, loop)

        def said(line: str) -> None:
            loop.call_soon_threadsafe(self.emit, ProgramOutput(self.clock(), line))

        try:
            await run_program(run, monitor, log, said)
        except TickoverError as error:
            # What failed first is known by name; the program only echoes it.
            if not self.failures and not self.request.canceller.is_cancelled:
                self.failures.add("", error)
        return registrar

    async def plan_program(self) -> tuple[Plan, Planner, tuple[Step, ...]]:
        """The dry run and what follows from it: the plan, the planner behind it, the removals."""
        self.emit(PhaseStarted(self.clock(), "planning"))
        prior = Prior.of(self.deployment.resources)
        limit = asyncio.Semaphore(max(self.request.parallel, 1))
        planner = Planner(prior, self.providers, self.failures, limit)
        registrar = await self._run(self._program(True), planner)
        steps: tuple[Step, ...] = ()
        if not self.failures:
            steps = removals(prior, list(planner.planned.values()), planner.seen)
            refuse_protected(steps, self.failures)
        planned = tuple(s for p in planner.planned.values() for s in p.steps)
        for step in (*planned, *steps):
            self.emit(StepPlanned(self.clock(), step))
        outputs = dict(registrar.stack_outputs)
        plan = self.plan_of((*planned, *steps), outputs, self.stack_outputs())
        if self.request.policy_packs and not self.failures:
            plan = replace(plan, violations=await self._judged(planner))
        self.violations = plan.violations
        self.emit(PlanReady(self.clock(), plan))
        return plan, planner, steps

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

    async def _judged(self, planner: Planner) -> tuple[PolicyViolation, ...]:
        """What the policy packs say of the planned resources."""
        request = self.request
        self.emit(PhaseStarted(self.clock(), "checking policies"))
        resources = [_analyzed(p.goal, p.inputs) for p in planner.planned.values()]
        async with PolicyPacks.start(
            request.policy_packs,
            project=request.project.name,
            stack=request.stack,
            dry_run=True,
            config=self._program(True).config,
            policy_config=request.policy_config,
        ) as packs:
            each = await asyncio.gather(*(packs.analyze(r) for r in resources))
            found = (*(v for vs in each for v in vs), *await packs.analyze_stack(resources))
        for violation in found:
            self.emit(PolicyReported(self.clock(), violation))
        return found

    @property
    def is_blocked(self) -> bool:
        """True if a policy forbids the plan."""
        return any(v.level in ("mandatory", "remediate") for v in self.violations)

    async def apply_program(self, planner: Planner, steps: tuple[Step, ...]) -> None:
        """The second run of the program, then the removals."""
        self.emit(PhaseStarted(self.clock(), "applying"))
        effects = self.open_effects()
        applier = Applier(planner.prior, planner.planned, effects)
        registrar = await self._run(self._program(False), applier)
        self.outputs = dict(registrar.stack_outputs)
        missing = planner.planned.keys() - applier.applied
        if not self.failures and not self.request.canceller.is_cancelled and missing:
            self.failures.add(
                min(missing),
                TickoverError(
                    "plan-violated",
                    "Program departs from the plan",
                    "It declared this resource when the plan was made, and does not now. Run up again.",
                    min(missing),
                    exit_code=Exit.RESOURCE,
                ),
            )
        if not self.failures and not self.request.canceller.is_cancelled and steps:
            self.emit(PhaseStarted(self.clock(), "deleting"))
            await remove(steps, planner.prior, effects, self.request.parallel)

    # -- ends -------------------------------------------------------------------------------------------

    def finish(self, plan: Plan, kind: str) -> Outcome:
        """Save what the journal says, record the update, and report."""
        request = self.request
        if self.journal is not None:
            self.emit(PhaseStarted(self.clock(), "saving"))
            request.backend.save(
                request.project.name, request.stack, self.journal.deployment(), self.keyring, self.journal
            )
        failed = bool(self.failures) or request.canceller.is_cancelled
        request.backend.record_update(
            request.project.name,
            request.stack,
            UpdateRecord(
                kind=kind,
                start_time=self.begun_at,
                end_time=int(time.time()),
                result="failed" if failed else "succeeded",
                resource_changes=plan.counts,
            ),
        )
        return self.outcome(plan, outputs=self.outputs if kind == "update" else dict(plan.outputs))

    def outcome(
        self,
        plan: Plan,
        *,
        unchanged: bool = False,
        declined: bool = False,
        outputs: dict[str, object] | None = None,
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
        self.emit(OperationFinished(self.clock(), self.name, result, plan.counts, shown))
        return Outcome(plan, result, shown, code, tuple(self.messages))


def _analyzed(goal: Goal, inputs: dict[str, object]) -> AnalyzedResource:
    return AnalyzedResource(
        urn=goal.urn,
        type=goal.type,
        name=goal.name,
        properties=inputs,
        provider=goal.provider,
        parent=goal.parent,
        dependencies=goal.dependencies,
        property_dependencies=goal.property_dependencies,
        protect=goal.protect,
    )
