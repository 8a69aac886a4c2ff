"""`tickover state move` and `state edit`: edits that are more than one change of one stack.

Owns: two stacks locked and saved together; a person's editor. Promises: what is moved is never in neither
stack: the destination is saved first, and put back if the source cannot be saved; an edited text is kept
until it is saved as the state. Never: calls a provider.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickover.commands.session import Session, confirmed
from tickover.commands.states import listed
from tickover.errors import ConfigError, Exit, TickoverError

if TYPE_CHECKING:
    from tickover.engine.relocation import Broken, Move, Place
    from tickover.engine.secrets import Keyring
    from tickover.engine.state import Deployment


@dataclass(frozen=True, slots=True)
class _End:
    """One of the two stacks of a move."""

    place: Place
    keyring: Keyring

    def load(self, session: Session) -> Deployment:
        loaded = session.backend.load(self.place.project, self.place.stack, self.keyring)
        session.note(*loaded.notices)
        return loaded.deployment

    def save(self, session: Session, deployment: Deployment) -> None:
        session.backend.save(self.place.project, self.place.stack, deployment, self.keyring)


def move(
    session: Session,
    source: str | None,
    destination: str | None,
    urns: Sequence[str],
    *,
    include_parents: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """`state move`: resources, with all below them, from one stack to another of the same back end."""
    from tickover.engine.integrity import verify
    from tickover.engine.relocation import moved

    ends = _ends(session, source, destination)
    places = [end.place for end in ends]

    def planned() -> tuple[list[Deployment], Move]:
        loaded = [end.load(session) for end in ends]
        return loaded, moved(loaded[0], loaded[1], places[1], urns, include_parents=include_parents)

    _, plan = planned()
    question = (f"From {places[0]} to {places[1]}:", *_told(plan, places), "Move them?")
    confirmed("\n".join(question), yes=yes)
    with ExitStack() as locks:
        for place in sorted(places, key=str):
            locks.enter_context(session.backend.lock(place.project, place.stack, "state move"))
        before, plan = planned()
        verify(plan.destination, f"what {places[1]} would be; nothing was changed")
        verify(plan.source, f"what {places[0]} would be; nothing was changed")
        _save_both(session, ends, before[1], plan)
    if as_json:
        session.say_json(_answer(plan, places))
    else:
        session.say(*_told(plan, places), f"{len(plan.moved)} resources are in {places[1]} now.")
    return int(Exit.OK)


def _ends(session: Session, source: str | None, destination: str | None) -> tuple[_End, _End]:
    if source is None and destination is None:
        raise ConfigError(
            "which-stacks", "Which stacks?", "Name the other stack with --source or --dest, or name both."
        )
    first, second = _end(session, source), _end(session, destination)
    if first.place == second.place:
        raise ConfigError("same-stack", "Both are one stack", f"{first.place} cannot be moved into itself.")
    return first, second


def _end(session: Session, named: str | None) -> _End:
    from tickover.engine.relocation import Place
    from tickover.engine.secrets import Keyring

    pieces = (named or "").split("/")
    if len(pieces) == 3 and pieces[1] != session.project.name:
        _, project, stack = pieces
        if not session.backend.exists(project, stack):
            raise TickoverError(
                "stack-not-found",
                "Stack not found",
                f"The back end has no stack {stack!r} of project {project!r}.",
                address=stack,
                exit_code=Exit.STACK_NOT_FOUND,
            )
        return _End(Place(project, stack), Keyring(session.passphrase(stack)))
    chosen = session.stack(named)
    return _End(Place(session.project.name, chosen), session.keyring(chosen))


def _save_both(session: Session, ends: Sequence[_End], before: Deployment, plan: Move) -> None:
    source, destination = ends
    destination.save(session, plan.destination)
    try:
        source.save(session, plan.source)
    except TickoverError as error:
        try:
            destination.save(session, before)
        except TickoverError as second:
            raise TickoverError(
                "half-moved",
                "Resources are in both stacks",
                f"{source.place} could not be saved ({error.summary}), nor could {destination.place} be put "
                f"back ({second.summary}). Forget them in {source.place} when it can be written again:"
                + "".join(f"\n  {urn}" for urn in plan.moved),
                address=str(source.place),
                hint=f"tickover state delete -s {source.place.stack} URN...",
            ) from error
        raise


def _told(plan: Move, places: Sequence[Place]) -> tuple[str, ...]:
    copied = [f"{old} (copied, stays here too)" for old in plan.providers]
    return (
        *listed([*plan.moved, *copied]),
        *_cut(f"These stay in {places[0]} and lose a reference:", plan.cut_in_source),
        *_cut(f"These go to {places[1]} and lose a reference:", plan.cut_in_destination),
    )


def _cut(head: str, broken: Sequence[Broken]) -> tuple[str, ...]:
    if not broken:
        return ()
    lines = [f"{b.urn}: its {b.kind} {b.target}" for b in broken]
    return (head, *listed(lines), "The program must pass such values on, by a stack reference.")


def _answer(plan: Move, places: Sequence[Place]) -> dict[str, Any]:
    def cuts(broken: Sequence[Broken]) -> list[dict[str, str]]:
        return [{"urn": b.urn, "kind": b.kind, "target": b.target} for b in broken]

    return {
        "source": str(places[0]),
        "destination": str(places[1]),
        "moved": dict(plan.moved),
        "providers": dict(plan.providers),
        "cut_in_source": cuts(plan.cut_in_source),
        "cut_in_destination": cuts(plan.cut_in_destination),
    }


# --- edit ------------------------------------------------------------------------------------------------


def edit(session: Session, stack: str | None, *, yes: bool, as_json: bool) -> int:
    """`state edit`: the exported state in $VISUAL or $EDITOR; saved if it is sound."""
    from tickover.engine.stackio import export_stack, import_stack

    chosen = session.stack(stack)
    project, keyring = session.project.name, session.keyring(chosen)
    editor = session.env.get("VISUAL") or session.env.get("EDITOR") or ""
    if not editor:
        raise ConfigError(
            "no-editor", "No editor is named", "The environment has no EDITOR.", hint="export EDITOR=vi"
        )
    before = session.backend.load(project, chosen, keyring).deployment
    text = json.dumps(export_stack(session.backend, project, chosen, keyring), indent=4) + "\n"
    handle, name = tempfile.mkstemp(prefix=f"state-{chosen}-", suffix=".json")
    file = Path(name)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    try:
        _in_editor(editor, file)
        changed = file.read_text("utf-8")
        document = _document(changed)
        if changed != text:
            confirmed(f"Make the edited text the state of {chosen}?", yes=yes)
            with session.backend.lock(project, chosen, "state edit"):
                _unmoved(session, chosen, keyring, before)
                import_stack(session.backend, project, chosen, document, keyring)
    except (OSError, ValueError, TickoverError) as error:
        raise _kept(error, file) from error
    file.unlink()
    if as_json:
        session.say_json({"stack": chosen, "changed": changed != text})
    else:
        session.say(
            f"The state of {chosen} is as edited." if changed != text else "The text was not changed."
        )
    return int(Exit.OK)


def _in_editor(editor: str, file: Path) -> None:
    ended = subprocess.run([*shlex.split(editor), str(file)], check=False)
    if ended.returncode:
        raise TickoverError("editor-failed", "Editor failed", f"{editor} ended with {ended.returncode}.")


def _document(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def _unmoved(session: Session, stack: str, keyring: Keyring, before: Deployment) -> None:
    """Raises TickoverError if somebody saved another state while the editor was open."""
    if session.backend.load(session.project.name, stack, keyring).deployment != before:
        raise TickoverError(
            "state-moved", "State changed meanwhile", f"{stack} was changed while the editor was open."
        )


def _kept(error: Exception, file: Path) -> TickoverError:
    """error, and where the edited text is."""
    kept = f"Nothing was changed; the edited text is kept in {file}."
    if isinstance(error, TickoverError):
        return TickoverError(
            error.code,
            error.summary,
            f"{error.detail}\n{kept}",
            error.address,
            hint="tickover stack import --file " + shlex.quote(str(file)),
            exit_code=error.exit_code,
        )
    return TickoverError("bad-edit", "Edited text is no state", f"{error}.\n{kept}", address=str(file))
