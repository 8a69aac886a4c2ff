"""Random stacks, random changes and random failures: the state stays sound and the next runs converge."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, note, settings

from tests.support.engine_fuzz import FuzzProvider, FuzzWorld, Stage, scenarios, text_of
from tests.support.engine_scripted import PROJECT, STACK, Stack, name_of, yes
from tickover.engine import operations, surgery
from tickover.engine.integrity import violations
from tickover.engine.state import PendingType
from tickover.engine.targeting import Choice
from tickover.errors import Exit, TickoverError

# More, and other ones at each run: TICKOVER_FUZZ_EXAMPLES=1000. Only then is time taken to shrink.
EXPLORES = int(os.environ.get("TICKOVER_FUZZ_EXAMPLES", "0"))
OPERATIONS = {
    "up": lambda request: operations.up(request, yes),
    "preview": operations.preview,
    "refresh": lambda request: operations.refresh(request, yes),
    "destroy": lambda request: operations.destroy(request, yes),
}


class FuzzStack(Stack):
    """released: ids that an operation may forget; the options of their resources say so."""

    def __init__(self, root):
        super().__init__(root, world=FuzzWorld())
        self.released = set()

    def request(self, **fields):
        base = super().request(**fields)
        return replace(base, providers={"test": lambda log: FuzzProvider(self.world)})

    def saved(self):
        path = self.root / "state" / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json"
        return path.read_bytes() if path.exists() else b""

    def things(self):
        return [r for r in self.deployment().resources if r.type == "test:index:Thing"]


def pattern(names):
    return tuple(f"**::{name}" for name in names)


def inherits(program, node, *options):
    """True if node or a parent of it sets one of options."""
    parents = {n.name: n for n in program}
    while node is not None and not any(getattr(node, option) for option in options):
        node = parents.get(node.parent)
    return node is not None


def perform(stack, stage):
    """Run stage, and check what holds whatever happened."""
    for region, id_ in [k for k in stack.world.things if k[1].rpartition("-")[0] in stage.gone]:
        del stack.world.things[region, id_]
    stack.world.faults = dict(stage.faults)
    stack.released |= {r.id for r in stack.things() if r.retain_on_delete or r.deleted_with}
    loose = {n.name for n in stage.program if inherits(stage.program, n, "retain", "deleted_with")}
    before = stack.saved(), dict(stack.world.things)
    choice = Choice(
        targets=pattern(stage.targets),
        excludes=pattern(stage.excludes),
        replaces=pattern(stage.replaces),
        target_dependents=stage.target_dependents,
    )
    stack.write(text_of(stage.program))
    try:
        outcome = asyncio.run(OPERATIONS[stage.op](stack.request(choice=choice, **stage.fields)))
    except TickoverError as error:
        note(f"raised {error}")
        outcome = None
    if outcome is not None:
        note(f"{stage.op}: {outcome.result}, {outcome.diagnostics}")
        assert outcome.exit_code is not Exit.INTERNAL, outcome.diagnostics
    if stage.op == "preview":
        assert (stack.saved(), dict(stack.world.things)) == before
    sound(stack, loose)
    return outcome


def sound(stack, loose):
    deployment = stack.deployment()
    assert violations(deployment) == ()
    assert not stack.backend.holders(PROJECT, STACK)
    creating = {
        name_of(p.resource.urn) for p in deployment.pending_operations if p.type is PendingType.CREATING
    }
    known = {r.id for r in deployment.resources} | stack.released | stack.world.unheard
    lost = {i for i in stack.world.ids() - known if i.rpartition("-")[0] not in creating | loose}
    assert not lost, f"in the cloud and not in the state: {sorted(lost)}"


def converged(stack, program):
    """The cloud is what program says."""
    live = {name_of(r.urn): r for r in stack.things()}
    assert len(live) == len(stack.things()), "something doomed is left"
    wanted = {n.name: n for n in program if n.kind == "thing"}
    assert sorted(live) == sorted(wanted)
    regions = {
        f"{r.urn}::{r.id}": r.inputs.get("region", "")
        for r in stack.deployment().resources
        if r.type == "pulumi:providers:test"
    }
    for name, node in wanted.items():
        resource = live[name]
        there = stack.world.things[regions[resource.provider], resource.id]
        shown = {"size": node.size, "kind": node.which}
        if node.of:
            shown["of"] = live[node.of].outputs["token"]
        assert {k: v for k, v in there.items() if k != "token"} == shown
        assert not resource.init_errors and resource.protect == inherits(program, node, "protect")


def unprotect(stack):
    """Protection holds up a removal for ever, which is its purpose."""
    loaded = stack.backend.load(PROJECT, STACK, stack.keyring())
    marking = surgery.with_protection(loaded.deployment, None, False)
    if marking.changed:
        stack.backend.save(PROJECT, STACK, marking.deployment, stack.keyring())


def check(stages):
    with tempfile.TemporaryDirectory() as folder:
        stack = FuzzStack(Path(folder))
        for stage in stages:
            note(
                f"{stage.op} {stage.fields} faults {stage.faults} gone {stage.gone}\n{text_of(stage.program)}"
            )
            perform(stack, stage)
        program = stages[-1].program
        unprotect(stack)
        last = Stage("up", program, fields={"skip_preview": True, "refresh": True})
        if perform(stack, last).result != "succeeded":
            again = perform(stack, last)
            assert again.result == "succeeded", again.diagnostics
        stack.world.calls.clear()
        quiet = perform(stack, Stage("up", program))
        assert quiet.result == "succeeded" and not quiet.plan.has_changes, quiet.plan.to_text()
        assert stack.world.effects() == []
        converged(stack, program)


@settings(
    max_examples=EXPLORES or 40,
    deadline=None,
    derandomize=not EXPLORES,
    phases=tuple(Phase) if EXPLORES else (Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(scenarios())
def test_whatever_fails_the_state_is_sound_and_the_next_runs_converge(stages):
    check(stages)
