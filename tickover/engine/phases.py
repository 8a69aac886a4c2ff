"""The two runs of a program: the dry run that makes the plan, and the one that applies it.

Owns: what happens before, during and after a run, policies included. Promises: nothing outlives a run; a run
that was cut off leaves no call of the program unanswered. Never: decides about one resource.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tickover.engine.analyzer import AnalyzedResource, PolicyPacks
from tickover.engine.events import PhaseStarted, PlanReady, PolicyReported, ProgramOutput, StepPlanned
from tickover.engine.execute import Applier
from tickover.engine.goal import Goal
from tickover.engine.monitor import EngineLog, Monitor
from tickover.engine.operation import GRACE_SECONDS, Operation
from tickover.engine.plan import Plan, PolicyViolation, Step
from tickover.engine.planner import Planned, Planner, Prior
from tickover.engine.program import ProgramRun, run_program
from tickover.engine.registrar import ProgramRegistrar, Worker
from tickover.engine.removals import refuse_protected, removals, remove, still_due
from tickover.engine.renames import renamed, renamed_resource
from tickover.engine.stackconfig import config_for_program, load_stack_config
from tickover.engine.state import ResourceState
from tickover.errors import Exit, TickoverError


def _program(op: Operation, dry_run: bool) -> ProgramRun:
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
    )


async def _run(op: Operation, run: ProgramRun, worker: Worker) -> ProgramRegistrar:
    registrar = ProgramRegistrar(
        run.project, run.stack, run.config, run.secret_keys, worker, op.failures, run.root
    )
    loop = asyncio.get_running_loop()
    monitor = Monitor(run, registrar, loop)
    log = EngineLog(op.say, loop)

    def said(line: str) -> None:
        loop.call_soon_threadsafe(op.emit, ProgramOutput(op.clock(), line))

    running = asyncio.create_task(run_program(run, monitor, log, said))
    try:
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
        registrar.stop()
    return registrar


async def plan_program(op: Operation) -> tuple[Plan, Planner, tuple[Step, ...]]:
    """The dry run and what follows from it: the plan, the planner behind it, the removals."""
    op.emit(PhaseStarted(op.clock(), "planning"))
    prior = Prior.of(op.deployment.resources)
    limit = asyncio.Semaphore(max(op.request.parallel, 1))
    canceller = op.request.canceller
    planner = Planner(prior, op.providers, op.failures, limit, lambda: canceller.is_cancelled)
    registrar = await _run(op, _program(op, True), planner)
    steps: tuple[Step, ...] = ()
    if not op.failures and not canceller.is_cancelled:
        steps = removals(prior, list(planner.planned.values()), planner.seen)
        refuse_protected(steps, op.failures)
    planned = tuple(s for p in planner.planned.values() for s in p.steps)
    for step in (*planned, *steps):
        op.emit(StepPlanned(op.clock(), step))
    outputs = dict(registrar.stack_outputs)
    plan = op.plan_of((*planned, *steps), outputs, op.stack_outputs())
    if op.request.policy_packs and not op.failures:
        plan = replace(plan, violations=await _judged(op, planner))
    op.violations, op.plan = plan.violations, plan
    op.emit(PlanReady(op.clock(), plan))
    return plan, planner, steps


async def _judged(op: Operation, planner: Planner) -> tuple[PolicyViolation, ...]:
    """What the policy packs say of the planned resources."""
    request = op.request
    op.emit(PhaseStarted(op.clock(), "checking policies"))
    resources = [_analyzed(p.goal, p.inputs) for p in planner.planned.values()]
    async with PolicyPacks.start(
        request.policy_packs,
        project=request.project.name,
        stack=request.stack,
        dry_run=True,
        config=_program(op, True).config,
        policy_config=request.policy_config,
    ) as packs:
        each = await asyncio.gather(*(packs.analyze(r) for r in resources))
        found = (*(v for vs in each for v in vs), *await packs.analyze_stack(resources))
    for violation in found:
        op.emit(PolicyReported(op.clock(), violation))
    return found


async def apply_program(op: Operation, planner: Planner, steps: tuple[Step, ...]) -> None:
    """The second run of the program, then the removals."""
    op.emit(PhaseStarted(op.clock(), "applying"))
    await op.reset_providers()
    planned, steps = _with_new_names(op, planner, steps)
    effects = op.open_effects()
    prior = Prior.of(op.deployment.resources)
    applier = Applier(prior, planned, effects)
    try:
        await _run(op, _program(op, False), applier)
    finally:
        applier.stop()
    missing = planned.keys() - applier.applied
    if not op.failures and not op.request.canceller.is_cancelled and missing:
        op.failures.add(
            min(missing),
            TickoverError(
                "plan-violated",
                "Program departs from the plan",
                "It declared this resource when the plan was made, and does not now. Run up again.",
                min(missing),
                exit_code=Exit.RESOURCE,
            ),
        )
    due = still_due(steps, prior, applier.replaced, applier.deleted)
    if due and not op.failures and not op.request.canceller.is_cancelled:
        op.emit(PhaseStarted(op.clock(), "deleting"))
        await remove(due, prior, effects, op.request.parallel)


def _with_new_names(
    op: Operation, planner: Planner, steps: tuple[Step, ...]
) -> tuple[dict[str, Planned], tuple[Step, ...]]:
    """What the program calls by another name gets that name in the state, and in all that is to be done."""
    names = {p.old.urn: urn for urn, p in planner.planned.items() if p.old is not None and p.old.urn != urn}
    if not names:
        return planner.planned, steps
    op.deployment = renamed(op.deployment, names)

    def old(resource: ResourceState | None) -> ResourceState | None:
        return None if resource is None else renamed_resource(resource, names)

    planned = {
        urn: replace(p, old=old(p.old), first=tuple(names.get(f, f) for f in p.first))
        for urn, p in planner.planned.items()
    }
    return planned, tuple(replace(s, urn=names.get(s.urn, s.urn), old=old(s.old)) for s in steps)


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
