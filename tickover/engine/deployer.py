"""One run of a program: each registration is decided upon and carried out, dry or for real.

Owns: what was decided in this run. Promises: each old resource goes on as one new one at most; what a
limited operation is not about stays as it is; whatever needs a failed resource is left alone. Never: makes a
provider call for itself, removes what the program no longer declares (see `removals`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from tickover.engine import cascade, consult, wire
from tickover.engine.answers import Answer, Result
from tickover.engine.decide import Choice, Decision, decide, imposed
from tickover.engine.entries import Entry, claimed_twice, is_import, protected, steps_of
from tickover.engine.execute import Acts, Order, removal
from tickover.engine.failures import Failures, check_failed
from tickover.engine.goal import Goal, alias_urns
from tickover.engine.judging import Judge
from tickover.engine.plan import Op, Step
from tickover.engine.prior import Prior
from tickover.engine.provider import CheckRequest, DiffRequest, DiffResult, InvokeResult, Provider
from tickover.engine.providers import Handle, Providers
from tickover.engine.refresher import read_again
from tickover.engine.savedguard import Guard
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import compare, with_ignored
from tickover.engine.targeting import Targeting, not_targeted
from tickover.engine.urn import parse_urn, split_reference
from tickover.engine.values import PropertyMap, contains_unknown
from tickover.errors import Exit, TickoverError


@dataclass(slots=True)
class Deployer:
    """The `answers.Worker` of a run. entries: by new URN. former: new URN → the old one it goes on from.

    kept: old URNs that stay as they are. condemned: old URN → keys, deleted ahead of a replacement.
    skipped: new resources left out; failed: what failed or needs something that did.
    """

    stack: str
    project: str
    prior: Prior
    providers: Providers
    failures: Failures
    limit: asyncio.Semaphore
    targeting: Targeting
    acts: Acts
    judge: Judge
    dry_run: bool
    consultant: consult.Consultant
    guard: Guard | None = None
    creates: bool = True  # False: a destroy that runs the program; nothing of its own is made
    entries: dict[str, Entry] = field(default_factory=dict)
    former: dict[str, str] = field(default_factory=dict)
    claimed: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    condemned: dict[str, tuple[str, ...]] = field(default_factory=dict)
    first: dict[str, tuple[Step, ...]] = field(default_factory=dict)  # deletions ahead of a replacement
    replaced: set[str] = field(default_factory=set)  # new URNs
    skipped: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    # -- registrations -----------------------------------------------------------------------------------

    async def handle(self, goal: Goal) -> Answer:
        self.acts.check_stop()
        old = self._found(goal)
        if not self.dry_run and not self.failed.isdisjoint(goal.needs):
            return self._left_alone(goal, old)
        try:
            return await self._handled(goal, old)
        except BaseException:
            self.failed.add(goal.urn)
            if old is not None and goal.urn not in self.entries:
                self.kept.add(old.urn)
            raise

    async def _handled(self, goal: Goal, old: ResourceState | None) -> Answer:
        targeted = self.targeting.includes(goal.urn, goal.needs)
        if not targeted or not self._is_made(goal, old):
            return await self._untouched(goal, old)
        if self.targeting.choice.targets:
            for needed in sorted(self.skipped & goal.needs):
                raise not_targeted(goal.urn, needed)
        if goal.is_provider:
            return await self._provider(goal, old)
        if not goal.custom:
            return await self._component(goal, old)
        return await self._custom(goal, old)

    def _is_made(self, goal: Goal, old: ResourceState | None) -> bool:
        """False where a destroy only runs the program for its providers, components and hooks."""
        if self.creates or goal.is_provider:
            return True
        return not goal.custom and not (self.skipped & goal.needs) and old is not None

    def _left_alone(self, goal: Goal, old: ResourceState | None) -> Answer:
        self.failed.add(goal.urn)
        if old is not None:
            self.kept.add(old.urn)
        return Answer(goal.as_state(goal.inputs), Result.SKIPPED)

    async def _untouched(self, goal: Goal, old: ResourceState | None) -> Answer:
        if old is None:
            self.skipped.add(goal.urn)
            state = goal.as_state(goal.inputs)
            return Answer(state, unknown=True)
        self.kept.add(old.urn)
        if old.provider and not old.external and not self.providers.has(old.provider):
            self.prior.providers.of(old)  # raises if even the state does not know it
        order = Order(goal, old, old.inputs, Decision(Choice.SAME))
        state = replace(old, urn=goal.urn) if old.urn != goal.urn else old
        if not self.dry_run and old.urn == goal.urn:
            state = await self.acts.keep(goal, old)
        self._enter(order, state, (order.step(Op.SAME, state),))
        return Answer(state)

    async def _component(self, goal: Goal, old: ResourceState | None) -> Answer:
        inputs = await self.judge.inputs(goal, goal.inputs)
        diff = DiffResult(False)
        if old is not None:
            diff = compare(old.inputs, inputs)
            if old.custom:
                diff = DiffResult(True, replaces=("provider",))
            diff = self._imposed(goal, old, False) or diff
        decision = decide(old, goal, diff)
        self._protect(goal, old, decision)
        order = Order(goal, old, inputs, decision)
        if decision.choice is Choice.REPLACE:
            self.replaced.add(goal.urn)
        self._expect(order)
        state = await self.acts.component(order)
        self._enter(order, state)
        return Answer(state)

    async def _provider(self, goal: Goal, old: ResourceState | None) -> Answer:
        handle = await self.providers.open(goal.urn, goal.type, goal.inputs, old.urn if old else "")
        wanted = with_ignored(goal.inputs, old.inputs, goal.ignore_changes) if old else goal.inputs
        checked = await handle.check_config(CheckRequest(goal.urn, old.inputs if old else None, wanted))
        check_failed(goal.urn, checked.failures, wanted)
        inputs = await self.judge.inputs(goal, wire.remark_secrets(checked.inputs, wanted))
        diff = DiffResult(False)
        if old is not None:
            request = DiffRequest(goal.urn, old.id, old.inputs, old.outputs, inputs, goal.ignore_changes)
            diff = await handle.diff_config(request)
            if diff.changes is None or (diff.changes and not diff.detailed):
                diff = replace(compare(old.inputs, inputs), replaces=diff.replaces)
            diff = self._imposed(goal, old, False) or diff
        decision = decide(old, goal, diff)
        self._protect(goal, old, decision)
        handle.is_replaced = decision.choice is Choice.REPLACE
        order = Order(goal, old, inputs, decision)
        await self._ahead(order)
        self._expect(order)
        state = await self.acts.provider(order, handle)
        self._enter(order, state)
        return Answer(state)

    async def _custom(self, goal: Goal, old: ResourceState | None) -> Answer:
        handle, goal = self.providers.of(goal.provider, goal.urn), self.consultant.ordered(goal)
        async with self.limit:
            if old is not None and old.extra.get("refreshBeforeUpdate") and not old.external:
                old = await self._reread(old)
            imported = False
            if goal.import_id and is_import(goal, old):
                old, imported = await self._import(goal, old, handle, goal.import_id), True
            order = await self._decided(goal, old, handle)
        recreated = old is not None and old.urn in self.condemned
        if imported and order.decision.choice is Choice.SAME and old is not None:
            return Answer(self.entries[goal.urn].new)
        if not recreated:
            await self._ahead(order)
        self._expect(order)
        match order.decision.choice:
            case Choice.SAME:
                state = await self.acts.same(order)
            case Choice.UPDATE:
                state = await self.acts.update(order, handle)
            case _:
                state = await self.acts.create(order, handle)
        steps = self.entries[goal.urn].steps if imported else ()
        self._enter(order, state, before=steps)
        await self.acts.hooked(order, state)
        return Answer(state)

    # -- decisions -----------------------------------------------------------------------------------------

    async def _decided(self, goal: Goal, old: ResourceState | None, handle: Handle) -> Order:
        is_targeted = self.targeting.replaces(goal.urn, old)
        wanted = with_ignored(goal.inputs, old.inputs, goal.ignore_changes) if old else goal.inputs
        is_gone = old is not None and (old.urn in self.condemned or old.external)
        kept = None if is_gone or is_targeted or (old and not old.custom) else old
        replaced = old if is_gone or is_targeted else None
        inputs = await self.consultant.checked(handle, goal, wanted if kept else goal.inputs, kept, replaced)
        inputs = await self.judge.inputs(goal, inputs)
        if old is None or old.external:
            return Order(goal, old, inputs, decide(old, goal, DiffResult(False)))
        diff = self._imposed(goal, old, not old.custom or await self._is_elsewhere(handle, goal, old))
        if diff is None and old.urn not in self.condemned:
            diff = await consult.differs(handle, old, inputs, goal.ignore_changes)
            for warning in diff.warnings:
                self.failures.warn(goal.urn, warning)
        if old.urn in self.condemned:  # deleted ahead of what it needs, maybe while its diff was asked for
            keys = self.condemned[old.urn]
            self.replaced.add(goal.urn)
            decision = Decision(Choice.REPLACE, True, keys, keys, {}, ("replaced with what it depends on",))
            return Order(goal, old, inputs, decision)
        assert diff is not None
        decision = decide(old, goal, diff)
        if decision.choice is Choice.REPLACE:
            self._protect(goal, old, decision)
            self._refuse_imported(goal, decision)
            self.replaced.add(goal.urn)
            if not is_targeted:
                inputs = await self.consultant.checked(handle, goal, goal.inputs, None, old)
        return Order(goal, old, inputs, decision)

    def _imposed(self, goal: Goal, old: ResourceState, is_elsewhere: bool) -> DiffResult | None:
        if not self.dry_run and contains_unknown(goal.replacement_trigger):
            raise TickoverError(
                "unknown-trigger", "Replacement trigger is unknown", "It has to be known by now.", goal.urn
            )
        return imposed(
            old,
            goal,
            is_targeted=self.targeting.replaces(goal.urn, old),
            replaced=self.replaced,
            is_elsewhere=is_elsewhere,
        )

    async def _is_elsewhere(self, handle: Handle, goal: Goal, old: ResourceState) -> bool:
        """True if the provider it has now would not find what another provider made."""
        if handle.is_replaced:
            return True
        urn = split_reference(goal.provider)[0]
        before = split_reference(old.provider)[0] if old.provider else urn
        # A reference to an older provider of that name: its replacement came, and this one's failed.
        live = self.prior.providers.live(before)
        is_live = live is None or live.id == split_reference(old.provider)[1]
        if before in (urn, handle.former) and is_live:
            return False
        entry = self.prior.providers.of(old)
        request = DiffRequest(urn, entry.id, entry.inputs, entry.outputs, handle.inputs)
        diff = await handle.diff_config(request)
        return bool(diff.replaces) or any(d.kind.is_replace for d in diff.detailed.values())

    def _protect(self, goal: Goal, old: ResourceState | None, decision: Decision) -> None:
        if old is not None and old.protect and goal.protect and decision.choice is Choice.REPLACE:
            why = ", ".join(decision.replace_keys) or "by its dependencies"
            raise protected(old, f"must be replaced ({why})")

    def _refuse_imported(self, goal: Goal, decision: Decision) -> None:
        if not goal.import_id:
            return
        what = (
            f"It says that it is the existing object {goal.import_id!r}, and its inputs would replace that "
            f"({', '.join(decision.replace_keys)}). Remove the option `import_` from the program first."
        )
        if self.dry_run:
            self.failures.warn(goal.urn, what)
            return
        raise TickoverError(
            "import-replaced", "Imported object would be replaced", what, goal.urn, exit_code=Exit.RESOURCE
        )

    async def _ahead(self, order: Order) -> None:
        """What has to be deleted before a replacement is made."""
        decision, old = order.decision, order.old
        if decision.choice is not Choice.REPLACE or not decision.delete_first or old is None:
            return
        if old.urn in self.condemned or old.external:
            return
        settled = {self.former.get(urn, urn) for urn in self.entries} | self.kept
        falling = await cascade.fallen(
            old, self.prior.order, settled | set(self.condemned), self.providers, self.prior.providers
        )
        steps: list[Step] = []
        for item in falling:
            if item.resource.protect:
                name = parse_urn(old.urn).name
                raise protected(item.resource, f"must be replaced, because {name} must")
            self.condemned[item.resource.urn] = item.keys
            if not item.resource.pending_replacement:
                steps.append(removal(item.resource, "replaced, deleted first", Op.DELETE_REPLACED))
        self.condemned[old.urn] = decision.replace_keys
        if not old.pending_replacement:
            steps.append(removal(old, "replaced, deleted first", Op.DELETE_REPLACED))
        self.first[order.goal.urn] = tuple(steps)
        await self.acts.delete_first(tuple(steps))

    # -- imports, reads, functions -----------------------------------------------------------------------

    async def _import(self, goal: Goal, old: ResourceState | None, handle: Handle, id: str) -> ResourceState:
        """What is there under the id that the program gives."""
        is_replacement = old is not None and old.urn not in self.condemned
        op = Op.IMPORT_REPLACEMENT if is_replacement else Op.IMPORT
        order = Order(goal, old, goal.inputs, Decision(Choice.CREATE, reasons=("imported",)))
        if self.guard is not None:
            self.guard.expect(goal, goal.inputs, op)
        state = await self.acts.read(order, id, handle, op)
        steps: tuple[Step, ...] = (order.step(op, state),)
        if is_replacement:
            self.replaced.add(goal.urn)
            steps = (*steps, order.step(Op.REPLACE, state))
        self._enter(order, state, steps)
        return state

    async def take_in(self, goal: Goal) -> ResourceState:
        """An existing object, without a program that declares what it should be."""
        if not goal.custom:
            state = await self.acts.component(Order(goal, None, {}, Decision(Choice.CREATE)))
            order = Order(goal, None, {}, Decision(Choice.CREATE, reasons=("imported",)))
            self._enter(order, state, (order.step(Op.IMPORT, state),))
            return state
        async with self.limit:
            handle = self.providers.of(goal.provider, goal.urn)
            # No program says so: the state does not remember it as the option `import_`.
            return await self._import(replace(goal, import_id=""), None, handle, goal.import_id)

    async def _reread(self, old: ResourceState) -> ResourceState | None:
        return await read_again(old, self.providers, self.prior.providers)

    async def read(self, goal: Goal, id: str) -> Answer:
        self.acts.check_stop()
        old = self._found(goal)
        order = Order(goal, old, goal.inputs, Decision(Choice.SAME))
        is_known = bool(id) and id != wire.UNKNOWN_STRING
        handle = self.providers.of(goal.provider, goal.urn)
        if not is_known or not handle.is_configured:  # in a dry run: the apply reads it
            state = replace(goal.as_state(goal.inputs, id if is_known else ""), external=True)
            self._enter(order, state, (order.step(Op.READ, state),))
            return Answer(state, unknown=True)
        is_replaced = old is not None and not old.external and old.id != id
        op = Op.READ_REPLACEMENT if is_replaced else Op.READ
        async with self.limit:
            state = await self.acts.read(order, id, handle, op)
        steps: tuple[Step, ...] = (order.step(op, state),)
        if is_replaced:
            self.replaced.add(goal.urn)
            steps = (*steps, order.step(Op.REPLACE, state))
        self._enter(order, state, steps)
        return Answer(state)

    async def outputs(self, state: ResourceState, outputs: PropertyMap) -> ResourceState:
        entry = self.entries.get(state.urn)
        if entry is None:
            return replace(state, outputs=outputs)  # left out of this operation
        state = await self.acts.outputs(entry.order, state, outputs)
        entry.new = state
        entry.steps = tuple(replace(s, new=state) if s.new is not None else s for s in entry.steps)
        if not state.custom:
            await self.acts.hooked(entry.order, state)
        return state

    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult | None:
        handle = self.providers.of(provider, token)
        if not handle.is_configured or (self.dry_run and contains_unknown(args)):
            return None
        return await handle.provider.invoke(token, args)

    def provider(self, reference: str, user: str) -> tuple[Provider, bool]:
        handle = self.providers.of(reference, user)
        return handle.provider, handle.is_configured

    # -- bookkeeping ------------------------------------------------------------------------------------

    def _found(self, goal: Goal) -> ResourceState | None:
        """By name, else by alias. Raises TickoverError where two go on from one."""
        if goal.urn in self.claimed and self.claimed[goal.urn] != goal.urn:
            raise claimed_twice(goal.urn, self.claimed[goal.urn], goal.urn)
        if goal.urn in self.prior.live:
            self.claimed[goal.urn] = goal.urn
            return self.prior.live[goal.urn]
        for urn in alias_urns(goal, self.stack, self.project, self.former):
            if urn in self.prior.live:
                other = self.claimed.setdefault(urn, goal.urn)
                if other != goal.urn:
                    raise claimed_twice(goal.urn, other, urn)
                self.former[goal.urn] = urn
                self.acts.renamed(urn, goal.urn)
                return self.prior.live[urn]
        return None

    def _expect(self, order: Order) -> None:
        if self.guard is not None:
            op = {
                Choice.SAME: Op.SAME,
                Choice.CREATE: Op.CREATE,
                Choice.UPDATE: Op.UPDATE,
                Choice.REPLACE: Op.REPLACE,
            }[order.decision.choice]
            self.guard.expect(order.goal, order.inputs, op)

    def _enter(
        self,
        order: Order,
        state: ResourceState,
        steps: tuple[Step, ...] | None = None,
        before: tuple[Step, ...] = (),
    ) -> None:
        if steps is None:
            steps = steps_of(order, state, self.first.get(order.goal.urn, ()))
        self.entries[order.goal.urn] = Entry(
            order.goal, order.old, order.decision, state, (*before, *steps), order
        )
