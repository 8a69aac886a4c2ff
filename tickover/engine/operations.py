"""preview, up, destroy and refresh: the operations on a stack, from its lock to its saved state.

Owns: the order of an operation's phases. Promises: nothing is changed without a confirmed plan (or the word
to skip it); whatever happens in between, the state is saved and verified at the end. Never: writes to a
terminal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tickover.engine import importer
from tickover.engine.analyzer import PolicyPacks
from tickover.engine.backend import engine_version
from tickover.engine.callbacks import Callbacks
from tickover.engine.effects import Canceller
from tickover.engine.events import PhaseStarted, PlanReady
from tickover.engine.hooks import Hooks, has_hooks
from tickover.engine.importer import Imports
from tickover.engine.operation import Operation
from tickover.engine.phases import apply_program, plan_program, program_run, take_providers
from tickover.engine.plan import Plan, Step
from tickover.engine.prior import Prior
from tickover.engine.provider import Severity
from tickover.engine.refresher import refreshed
from tickover.engine.removals import Seen, refuse_protected, removals, remove, unprotected
from tickover.engine.request import Outcome, Request
from tickover.engine.savedplan import Binding, SavedPlan, bind, moved, program_files, refused
from tickover.engine.state import ResourceState
from tickover.engine.targeting import not_found
from tickover.engine.urn import is_provider_type, parse_urn
from tickover.engine.values import reveal
from tickover.errors import Exit, TickoverError

Confirm = Callable[[Plan], Awaitable[bool]]
_DELETE_HOOKS: Final = ("BeforeDelete", "AfterDelete")
Taken = tuple[ResourceState, ...]

__all__ = ["Canceller", "Outcome", "Request", "destroy", "import_", "preview", "refresh", "up"]


async def preview(request: Request) -> Outcome:
    """What `up` would do. Takes no lock and writes nothing."""

    async def body(op: Operation) -> Outcome:
        op.load()
        await _look_again(op, saves=False)
        if op.failures:
            return op.outcome(_nothing(op))
        plan = await _planned(op)
        return op.outcome(plan)

    return await _with_packs(request, "preview", body, dry_run=True)


async def up(request: Request, confirm: Confirm) -> Outcome:
    """Make the stack what the program declares."""

    async def body(op: Operation) -> Outcome:
        op.load()
        await _look_again(op, saves=True)
        if op.failures:
            return op.outcome(_nothing(op))
        if request.skip_preview:
            plan = _nothing(op)
        else:
            plan = await _planned(op)
            if op.failures or op.is_blocked or request.canceller.is_cancelled:
                return op.outcome(plan)
            if not plan.has_changes and not op.leftovers:
                return op.outcome(plan, unchanged=True)
            if plan.has_changes and not await confirm(plan):
                return op.outcome(plan, declined=True)
            if op.packs is not None:
                await op.packs.begin(dry_run=False)
        op.violations = ()
        await apply_program(op)
        if request.skip_preview and op.effects is not None:
            plan = op.plan_of(op.effects.done, op.stack_outputs(), dict(plan.old_outputs))
        return op.finish(plan, "update")

    dry_run = not request.skip_preview
    return await _with_packs(request, "up", body, dry_run=dry_run, locks=True)


async def destroy(request: Request, confirm: Confirm, preview_only: bool = False) -> Outcome:
    """Remove what the stack has. The program is run only where that is asked for."""

    async def body(op: Operation) -> Outcome:
        op.load()
        if request.refresh:
            await _refresh_and_save(op)
        if op.failures:
            return op.outcome(_nothing(op))
        if request.run_program:
            return await _destroy_with_program(op, confirm, preview_only)
        prior = Prior.of(op.deployment.resources)
        choice = request.choice
        if request.exclude_protected:
            kept = tuple(r.urn for r in prior.order if r.protect)
            choice = replace(choice, excludes=(*choice.excludes, *kept))
        missing = request.choice.unknown({r.urn for r in prior.order})
        if missing:
            op.failures.add("", not_found(missing, request.stack))
        steps = removals(prior, Seen(), choice, op.failures)
        if not request.skip_preview:
            refuse_protected(steps, op.failures)
        left = len(unprotected(steps)) < len(prior.order)
        outputs = op.stack_outputs() if left else {}
        plan = op.plan_of(steps, outputs=outputs, old_outputs=op.stack_outputs())
        op.plan = plan
        _refuse_hooks(op, steps)
        op.emit(PlanReady(op.clock(), plan))
        if op.failures or not steps or preview_only:
            return op.outcome(plan, unchanged=not steps and not op.failures)
        if not request.skip_preview and not await confirm(plan):
            return op.outcome(plan, declined=True)
        op.emit(PhaseStarted(op.clock(), "deleting"))
        op.drop_all_but_creations()
        callbacks = Callbacks()
        try:
            effects = op.open_effects(Hooks(callbacks, op.failures, False))
            await remove(unprotected(steps), prior, effects, request.parallel)
            refuse_protected(steps, op.failures)
        finally:
            await callbacks.close()
        return op.finish(plan, "destroy")

    return await Operation.run(request, "destroy", body, locks=not preview_only)


async def _destroy_with_program(op: Operation, confirm: Confirm, preview_only: bool) -> Outcome:
    plan = await plan_program(op, creates=False)
    if op.failures or not plan.steps or preview_only:
        return op.outcome(plan, unchanged=not op.failures)
    if not op.request.skip_preview and not await confirm(plan):
        return op.outcome(plan, declined=True)
    op.drop_all_but_creations()
    await apply_program(op, creates=False)
    return op.finish(plan, "destroy")


async def refresh(request: Request, confirm: Confirm, preview_only: bool = False) -> Outcome:
    """Take over what the providers say. preview_only: report the drift and write nothing."""

    async def body(op: Operation) -> Outcome:
        op.load()
        op.emit(PhaseStarted(op.clock(), "refreshing"))
        missing = request.choice.unknown({r.urn for r in op.deployment.resources})
        if missing:
            op.failures.add("", not_found(missing, request.stack))
        changed = await take_providers(op) if request.run_program and not missing else ()
        deployment, steps = await refreshed(
            op.deployment, op.providers, op.failures, request.parallel, request.choice, request.pending
        )
        outputs = op.stack_outputs()
        steps = (*changed, *steps)
        op.plan = plan = op.plan_of(steps, outputs=outputs, old_outputs=outputs)
        op.emit(PlanReady(op.clock(), plan))
        if preview_only or op.failures or request.canceller.is_cancelled:
            return op.outcome(plan)
        if plan.has_changes and not request.skip_preview and not await confirm(plan):
            return op.outcome(plan, declined=True)
        op.replace_state(deployment)
        return op.finish(plan, "refresh", done=steps)

    return await Operation.run(request, "refresh", body, locks=not preview_only)


async def import_(request: Request, imports: Imports, confirm: Confirm) -> tuple[Outcome, Taken]:
    """Take existing objects into the stack. The second value: what was taken in."""
    taken: list[ResourceState] = []

    async def body(op: Operation) -> Outcome:
        op.load()
        plan = await importer.rehearse(op, imports)
        if op.failures:
            return op.outcome(plan)
        if not request.skip_preview and not await confirm(plan):
            return op.outcome(plan, declined=True)
        taken.extend(await importer.perform(op, imports))
        return op.finish(plan, "import")

    outcome = await Operation.run(request, "import", body, locks=True)
    return outcome, tuple(taken)


async def _with_packs(
    request: Request,
    name: str,
    body: Callable[[Operation], Awaitable[Outcome]],
    *,
    dry_run: bool,
    locks: bool = False,
) -> Outcome:
    """Do body while the policy packs run."""

    async def inner(op: Operation) -> Outcome:
        if not request.policy_packs:
            return await body(op)
        op.load()  # a broken state is told before packs are started
        program = program_run(op, dry_run)
        async with PolicyPacks.start(
            request.policy_packs,
            project=request.project.name,
            stack=request.stack,
            dry_run=dry_run,
            config=program.config,
            secret_keys=program.secret_keys,
            policy_config=request.policy_config,
            on_line=lambda pack, line: op.say(Severity.INFO, "", f"{pack}: {line}"),
        ) as packs:
            op.packs = packs
            return await body(op)

    return await Operation.run(request, name, inner, locks=locks)


async def _planned(op: Operation) -> Plan:
    """The plan, bound to what it was made from, and held to the saved one if there is one."""
    saved = op.request.saved_plan
    if saved is not None and _has_moved(op, saved, saved.binding.providers):
        return _nothing(op)
    plan = await plan_program(op)
    providers = {
        parse_urn(urn).type.rpartition(":")[2]: str(reveal(goal.inputs.get("version", "")))
        for urn, goal in op.goals.items()
        if is_provider_type(goal.type)
    }
    if saved is not None:
        _has_moved(op, saved, providers)
    else:
        op.binding = _bound(op, providers, "")
    return plan


def _has_moved(op: Operation, saved: SavedPlan, providers: Mapping[str, str]) -> bool:
    """True, and reported, if the plan does not fit what is there now."""
    reasons = moved(saved.binding, _bound(op, providers, saved.binding.config_salt))
    if reasons:
        op.failures.clear()  # what follows from the move is no news
        op.failures.add("", refused(saved, reasons))
    return bool(reasons)


def _bound(op: Operation, providers: Mapping[str, str], salt: str) -> Binding:
    project = op.request.project
    program = program_run(op, True)
    return bind(
        project.name,
        op.request.stack,
        state=op.loaded.digest if op.loaded is not None else "",
        config=program.config,
        secret_keys=program.secret_keys,
        program=program_files(project.root, project.main),
        providers=providers,
        tool=engine_version(),
        salt=salt,
        state_time=op.deployment.time,
    )


def _nothing(op: Operation) -> Plan:
    return op.plan_of((), outputs=op.stack_outputs(), old_outputs=op.stack_outputs())


def _refuse_hooks(op: Operation, steps: Sequence[Step]) -> None:
    """Report each resource whose hooks want to see its deletion: only the program has them."""
    for step in steps:
        if step.old is not None and any(has_hooks(step.old, kind) for kind in _DELETE_HOOKS):
            op.failures.add(
                step.urn,
                TickoverError(
                    "hooks-missing",
                    "Resource has delete hooks",
                    "They are part of the program, which a destroy does not run unless it is told to.",
                    address=step.urn,
                    hint=f"tickover destroy -s {op.request.stack} --run-program",
                    exit_code=Exit.CONFIGURATION,
                ),
            )


async def _look_again(op: Operation, saves: bool) -> None:
    """What really is, as far as it was asked for or an interrupted run makes it necessary."""
    if op.request.refresh and saves:
        await _refresh_and_save(op)
    elif op.request.refresh:
        await _refresh_in_memory(op)
    else:
        await op.settle_leftovers(must=saves)


async def _refresh_in_memory(op: Operation) -> None:
    op.emit(PhaseStarted(op.clock(), "refreshing"))
    request = op.request
    deployment, _ = await refreshed(
        op.deployment, op.providers, op.failures, request.parallel, request.choice, request.pending
    )
    op.deployment = deployment
    await op.reset_providers()


async def _refresh_and_save(op: Operation) -> None:
    await _refresh_in_memory(op)
    if not op.failures:
        op.replace_state(op.deployment)
        op.leftovers = False
