"""The runs of a program: the dry run that makes the plan, and the one that applies it.

Owns: what happens before, during and after a run, policies included. Promises: nothing outlives a run; the
program's callbacks are served until the last deletion; a run that was cut off leaves no call of the program
unanswered. Never: decides about one resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace

from tickover.engine import autonaming
from tickover.engine.builtin import PACKAGE, Builtin
from tickover.engine.callbacks import Callbacks
from tickover.engine.consult import Consultant
from tickover.engine.decide import Choice
from tickover.engine.deployer import Deployer
from tickover.engine.effects import now_rfc3339
from tickover.engine.events import PhaseStarted, PlanReady, PolicyReported, ProgramOutput, StepPlanned
from tickover.engine.execute import Acts, Performance, Rehearsal
from tickover.engine.hooks import Hooks
from tickover.engine.judging import Judge
from tickover.engine.monitor import EngineLog, Monitor, Stopping
from tickover.engine.moves import is_remembered_otherwise
from tickover.engine.operation import GRACE_SECONDS, Operation
from tickover.engine.otherstacks import SameBackend
from tickover.engine.packagerefs import Packages
from tickover.engine.plan import Plan, PolicyViolation, Step, surprises
from tickover.engine.planorder import ordered
from tickover.engine.plugins.serve import served
from tickover.engine.prior import Prior
from tickover.engine.program import ORGANIZATION, ProgramRun, run_program
from tickover.engine.programplace import virtualenv_of
from tickover.engine.registrar import ProgramRegistrar
from tickover.engine.remote import Remote
from tickover.engine.removals import Seen, refuse_protected, removals, remove, unprotected
from tickover.engine.savedguard import Guard
from tickover.engine.stackconfig import config_for_program, load_stack_config
from tickover.engine.targeting import Targeting, not_found
from tickover.engine.transforms import Transforms
from tickover.engine.urn import is_default_provider
from tickover.engine.values import PropertyMap
from tickover.errors import TickoverError


@dataclass(slots=True)
class Run:
    """One run of the program, and all that serves it."""

    op: Operation
    program: ProgramRun
    prior: Prior
    deployer: Deployer
    registrar: ProgramRegistrar
    monitor: Monitor
    log: EngineLog
    hooks: Hooks
    judge: Judge
    steps: tuple[Step, ...] = ()  # removals
    outputs: PropertyMap | None = None

    @property
    def has_failed(self) -> bool:
        return bool(self.op.failures) or self.op.request.canceller.is_cancelled


def program_run(op: Operation, dry_run: bool) -> ProgramRun:
    """What the program is run with."""
    request = op.request
    if op.config is None:
        stack_config = load_stack_config(request.project, request.stack)
        op.config = config_for_program(request.project, stack_config, op.keyring)
    return ProgramRun(
        root=request.project.root,
        main=request.project.main,
        project=request.project.name,
        stack=request.stack,
        config=op.config[0],
        secret_keys=op.config[1],
        parallel=request.parallel,
        dry_run=dry_run,
        virtualenv=virtualenv_of(request.project.root, request.project.runtime_options),
    )


def assembled(op: Operation, dry_run: bool, cleanup: AsyncExitStack, creates: bool) -> Run:
    """All that a run needs, put together."""
    request = op.request
    program = program_run(op, dry_run)
    callbacks = Callbacks()
    cleanup.push_async_callback(callbacks.close)
    hooks = Hooks(callbacks, op.failures, dry_run)
    prior = Prior.of(op.deployment.resources)

    def tell(violation: PolicyViolation) -> None:
        op.emit(PolicyReported(op.clock(), violation))

    naming = autonaming.read(program.config, ORGANIZATION, program.project, program.stack)
    judge = Judge(op.packs, dry_run, tell, op.say)
    acts: Acts
    if dry_run:
        acts = Rehearsal(op.providers, op.failures, hooks, lambda: request.canceller.is_cancelled)
    else:
        acts = Performance(op.open_effects(hooks), lambda step: _delete_first(op, prior, step))
    deployer = Deployer(
        stack=request.stack,
        project=request.project.name,
        prior=prior,
        providers=op.providers,
        failures=op.failures,
        limit=asyncio.Semaphore(max(request.parallel, 1)),
        targeting=Targeting(request.choice),
        acts=acts,
        judge=judge,
        dry_run=dry_run,
        consultant=Consultant(op.seed, naming, op.failures.warn),
        guard=Guard(request.saved_plan) if request.saved_plan is not None else None,
        creates=creates,
    )
    remote = Remote(
        program.project, program.stack, program.config, program.secret_keys, dry_run, program.parallel
    )
    cleanup.push_async_callback(remote.close)
    registrar = ProgramRegistrar(
        program.project,
        program.stack,
        program.config,
        program.secret_keys,
        deployer,
        op.failures,
        program.root,
        Transforms(callbacks),
        hooks,
        Packages(program.config),
        remote,
        continue_on_error=dry_run or request.continue_on_error,
    )
    loop = asyncio.get_running_loop()
    monitor = Monitor(program, registrar, loop)
    log = EngineLog(op.say, loop)
    remote.open_monitor = lambda: served(monitor, log)
    op.providers.add_builtin(PACKAGE, lambda _: Builtin(SameBackend(request), registrar.find))
    return Run(op, program, prior, deployer, registrar, monitor, log, hooks, judge)


async def _delete_first(op: Operation, prior: Prior, step: Step) -> None:
    """A deletion ahead of a replacement."""
    assert op.effects is not None and step.old is not None
    leaves = replace(step.old, pending_replacement=True)
    if not await op.effects.delete(step, prior.providers, leaves):
        raise Stopping("its old one could not be deleted")


async def _run(run: Run, follow: Callable[[Run], Awaitable[None]]) -> None:
    """Run the program; follow is called when it has registered everything, while it waits."""
    op, monitor = run.op, run.monitor
    loop = asyncio.get_running_loop()

    def said(line: str) -> None:
        loop.call_soon_threadsafe(op.emit, ProgramOutput(op.clock(), line))

    stop = asyncio.Event()

    def pressed(_: int) -> None:
        stop.set()

    op.providers.open_ahead(run.prior.order)
    canceller = op.request.canceller
    canceller.on_press.append(pressed)
    running = asyncio.ensure_future(run_program(run.program, monitor, run.log, said, stop=stop))
    through = asyncio.ensure_future(monitor.has_registered_all.wait())
    try:
        await asyncio.wait({running, through}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await follow(run)
        monitor.release()
        try:
            await asyncio.shield(running)
        except TickoverError as error:
            # What failed first is known by name; the program only echoes it.
            await monitor.finish()
            if not op.failures and not op.request.canceller.is_cancelled:
                op.failures.add("", error)
        await monitor.finish()
    except asyncio.CancelledError:
        await monitor.stop()
        await asyncio.wait({running}, timeout=GRACE_SECONDS)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        raise
    finally:
        canceller.on_press.remove(pressed)
        through.cancel()
        with suppress(asyncio.CancelledError):
            await through
        run.registrar.stop()


async def plan_program(op: Operation, creates: bool = True) -> Plan:
    """The dry run and what follows from it."""
    op.emit(PhaseStarted(op.clock(), "planning"))

    async def follow(run: Run) -> None:
        if run.has_failed and run.op.failures:
            return
        run.steps = _removals(run)
        refuse_protected(run.steps, op.failures)
        await run.deployer.acts.delete_first(run.steps)
        run.outputs = await run.registrar.settle_stack_outputs(op.stack_outputs(), False)
        if not op.failures:
            await run.judge.stack(run.registrar.goals, run.registrar.states)

    async with AsyncExitStack() as cleanup:
        run = assembled(op, True, cleanup, creates)
        await _run(run, follow)
    _check_targets(run)
    planned = ordered(run.deployer.entries)
    for step in (*planned, *run.steps):
        op.emit(StepPlanned(op.clock(), step))
    outputs = op.stack_outputs() if run.outputs is None else run.outputs
    plan = op.plan_of((*planned, *run.steps), dict(outputs), op.stack_outputs())
    plan = replace(plan, violations=tuple(run.judge.found))
    op.violations, op.plan, op.goals = plan.violations, plan, run.registrar.goals
    op.leftovers = op.leftovers or _moves(run) or any(is_default_provider(s.urn) for s in run.steps)
    if run.deployer.guard is not None and not op.failures:
        run.deployer.guard.finish(op.failures)
    op.emit(PlanReady(op.clock(), plan))
    return plan


async def take_providers(op: Operation) -> tuple[Step, ...]:
    """Run the program for its providers only: the stack's own get the configuration that it gives them, also
    in op.deployment. The steps say which were changed by that."""

    async def follow(_: Run) -> None:
        """Nothing follows: what is not declared stays."""

    async with AsyncExitStack() as cleanup:
        run = assembled(op, True, cleanup, creates=False)
        await _run(run, follow)
    changed = {
        entry.old.urn: entry
        for entry in run.deployer.entries.values()
        if entry.goal.is_provider and entry.old is not None and entry.decision.choice is Choice.UPDATE
    }
    taken = {
        urn: replace(entry.old, inputs=entry.new.inputs, outputs=entry.new.outputs, modified=now_rfc3339())
        for urn, entry in changed.items()
        if entry.old is not None
    }
    resources = tuple(taken.get(r.urn, r) for r in op.deployment.resources)
    op.deployment = replace(op.deployment, resources=resources)
    return tuple(step for entry in changed.values() for step in entry.steps)


async def apply_program(op: Operation, creates: bool = True) -> None:
    """The run of the program that does what it asks for, then the removals."""
    op.emit(PhaseStarted(op.clock(), "applying"))
    await op.reset_providers()
    keeps_going = op.request.continue_on_error

    async def follow(run: Run) -> None:
        stopped = op.request.canceller.is_cancelled or (op.failures and not keeps_going)
        if not stopped:
            run.steps = _removals(run)
            if run.deployer.guard is not None:
                run.deployer.guard.finish(op.failures)
            assert op.effects is not None
            if run.steps and (not op.failures or keeps_going):
                op.emit(PhaseStarted(op.clock(), "deleting"))
                free = unprotected(run.steps)
                await remove(free, run.prior, op.effects, op.request.parallel)
            refuse_protected(run.steps, op.failures)
        await _settle(run)

    async with AsyncExitStack() as cleanup:
        run = assembled(op, False, cleanup, creates)
        await _run(run, follow)
        if run.outputs is None:
            await _settle(run)
    if not op.failures and not op.request.canceller.is_cancelled:
        _check_targets(run)
    if op.plan is not None and op.effects is not None:
        for urn, message in surprises(op.plan.steps, op.effects.done):
            op.failures.warn(urn, message)


async def _settle(run: Run) -> None:
    """The stack's outputs, and what the policies say of the whole."""
    op = run.op
    try:
        run.outputs = await run.registrar.settle_stack_outputs(op.stack_outputs(), run.has_failed)
        if not run.has_failed:
            await run.judge.stack(run.registrar.goals, run.registrar.states)
    except TickoverError as error:
        op.failures.add(error.address, error)
    except Stopping:
        run.outputs = op.stack_outputs()


def _removals(run: Run) -> tuple[Step, ...]:
    op = run.op
    steps = removals(run.prior, Seen.of(run.deployer), op.request.choice, op.failures)
    if run.deployer.guard is not None:
        run.deployer.guard.expect_removals(steps, op.failures)
    return steps


def _check_targets(run: Run) -> None:
    op = run.op
    known = {r.urn for r in run.prior.order} | set(run.registrar.goals) | run.deployer.skipped
    missing = op.request.choice.unknown(known)
    if missing and not op.failures and not op.request.canceller.is_cancelled:
        op.failures.add("", not_found(missing, op.request.stack))


def _moves(run: Run) -> bool:
    """True if unchanged resources are to be remembered otherwise: renamed, moved, protected, made secret."""
    return any(is_remembered_otherwise(entry) for entry in run.deployer.entries.values())
