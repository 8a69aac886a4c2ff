"""`tickover state …`: edits of what a stack remembers, by hand.

Owns: the order of such an edit: look, ask, lock, look again, change, verify, save. Promises: nothing is
written that breaks a rule of `engine.integrity`; the state before stays as the back end's backup. Never:
calls a provider, so no resource changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tickover.commands.session import Session, confirmed
from tickover.errors import ConfigError, Exit, TickoverError

if TYPE_CHECKING:
    from tickover.engine.mending import Mended
    from tickover.engine.recovery import Loaded
    from tickover.engine.secrets import Keyring
    from tickover.engine.state import Deployment
    from tickover.engine.surgery import Marking

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Edit:
    """question: asked before it is done, empty if nothing would change. lines, answer: what to say after."""

    deployment: Deployment
    question: str
    lines: tuple[str, ...]
    answer: dict[str, Any]


def edited(
    session: Session,
    stack: str | None,
    command: str,
    change: Callable[[Deployment], Edit],
    *,
    yes: bool,
    as_json: bool,
) -> int:
    """Do change to the state of stack."""
    chosen = session.stack(stack)
    keyring = session.keyring(chosen)
    planned = change(_present(session, chosen, keyring).deployment)
    if planned.question:
        confirmed(planned.question, yes=yes)
        with session.backend.lock(session.project.name, chosen, command):
            planned = change(_present(session, chosen, keyring).deployment)
            save(session, chosen, planned.deployment, keyring)
    if as_json:
        session.say_json({"stack": chosen} | planned.answer)
    else:
        session.say(*planned.lines)
    return int(Exit.OK)


def _present(session: Session, stack: str, keyring: Keyring) -> Loaded:
    loaded = session.backend.load(session.project.name, stack, keyring)
    session.note(*loaded.notices)
    return loaded


def save(session: Session, stack: str, deployment: Deployment, keyring: Keyring) -> None:
    """Write deployment if it is sound. The caller holds the lock."""
    from tickover.engine.integrity import verify

    verify(deployment, f"what {stack} would be; nothing was changed")
    session.backend.save(session.project.name, stack, deployment, keyring)


def listed(urns: Sequence[str]) -> tuple[str, ...]:
    """urns as lines, the rest counted."""
    more = (f"  and {len(urns) - _SHOWN} more",) if len(urns) > _SHOWN else ()
    return (*(f"  {urn}" for urn in urns[:_SHOWN]), *more)


def _counted(number: int) -> str:
    return "1 resource" if number == 1 else f"{number} resources"


# --- delete ----------------------------------------------------------------------------------------------


def delete(
    session: Session,
    stack: str | None,
    urns: Sequence[str],
    *,
    everything: bool,
    force: bool,
    with_dependents: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """`state delete`: forget resources; they go on existing where they are."""
    from tickover.engine.surgery import without, without_all

    _exactly_one(urns, everything)

    def change(deployment: Deployment) -> Edit:
        removal = (
            without_all(deployment, force=force)
            if everything
            else without(deployment, urns, force=force, with_dependents=with_dependents)
        )
        count = _counted(len(removal.removed))
        answer = {"removed": list(removal.removed), "unprotected": list(removal.unprotected)}
        question = "\n".join((f"{count} will be forgotten, and not destroyed:", *listed(removal.removed)))
        if not removal.removed:
            return Edit(deployment, "", ("The stack has no resources.",), answer)
        lines = (f"{count} forgotten, not destroyed:", *listed(removal.removed))
        return Edit(removal.deployment, f"{question}\nForget them?", lines, answer)

    return edited(session, stack, "state delete", change, yes=yes, as_json=as_json)


def _exactly_one(urns: Sequence[str], everything: bool) -> None:
    if bool(urns) == everything:
        raise ConfigError(
            "which-resources",
            "Which resources?",
            "Name resources by their URNs, or all with --all; not both.",
            hint="tickover state ls",
        )


# --- rename ----------------------------------------------------------------------------------------------


def rename(session: Session, stack: str | None, urn: str, name: str, *, yes: bool, as_json: bool) -> int:
    """`state rename`: another name in the state, wherever the resource is referred to."""
    from dataclasses import replace

    from tickover.engine.surgery import checked_urn, with_name
    from tickover.engine.urn import parse_urn

    new = str(replace(parse_urn(checked_urn(urn)), name=name))

    def change(deployment: Deployment) -> Edit:
        made = with_name(deployment, urn, name)
        answer = {"old": urn, "new": new}
        if new == urn:
            return Edit(deployment, "", (f"{urn} is called so already.",), answer)
        return Edit(made, f"{urn} will be called {name}. Rename it?", (f"It is {new} now.",), answer)

    return edited(session, stack, "state rename", change, yes=yes, as_json=as_json)


# --- protect and taint ---------------------------------------------------------------------------------


def protect(
    session: Session,
    stack: str | None,
    urns: Sequence[str],
    *,
    on: bool,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """`state protect` and `state unprotect`."""
    from tickover.engine.surgery import with_protection

    words = ("protected", "protect") if on else ("not protected any more", "unprotect")
    return _mark(session, stack, urns, with_protection, on, words, everything, yes, as_json)


def taint(
    session: Session,
    stack: str | None,
    urns: Sequence[str],
    *,
    on: bool,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """`state taint` and `state untaint`."""
    from tickover.engine.surgery import with_taint

    words = ("tainted: the next `tickover up` replaces it", "taint") if on else ("not tainted", "untaint")
    return _mark(session, stack, urns, with_taint, on, words, everything, yes, as_json)


def _mark(
    session: Session,
    stack: str | None,
    urns: Sequence[str],
    mark: Callable[[Deployment, Sequence[str] | None, bool], Marking],
    on: bool,
    words: tuple[str, str],
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    _exactly_one(urns, everything)
    state, command = words

    def change(deployment: Deployment) -> Edit:
        marking = mark(deployment, None if everything else urns, on)
        answer = {"resources": list(marking.named), "changed": list(marking.changed)}
        lines = (f"{_counted(len(marking.named))} {state}.",)
        if not marking.changed:
            return Edit(deployment, "", lines, answer)
        question = "\n".join((f"To {command}:", *listed(marking.changed), f"{command.capitalize()} them?"))
        return Edit(marking.deployment, question, lines, answer)

    return edited(session, stack, f"state {command}", change, yes=yes, as_json=as_json)


# --- ls, repair, upgrade ----------------------------------------------------------------------------------


def ls(session: Session, stack: str | None, *, as_json: bool) -> int:
    """`state ls`: the URNs of what the stack remembers."""
    chosen = session.stack(stack)
    deployment = _present(session, chosen, session.keyring(chosen)).deployment
    if as_json:
        rows = [
            {"urn": r.urn, "id": r.id, "protect": r.protect, "delete": r.delete, "taint": "taint" in r.extra}
            for r in deployment.resources
        ]
        session.say_json({"stack": chosen, "resources": rows})
    else:
        session.say(*(r.urn for r in deployment.resources))
    return int(Exit.OK)


def repair(session: Session, stack: str | None, *, yes: bool, as_json: bool) -> int:
    """`state repair`: order the resources, drop references to what is not there."""
    from tickover.engine.mending import mended

    chosen = session.stack(stack)
    keyring = session.keyring(chosen)
    result = mended(_unverified(session, chosen, keyring))
    if result.broken:
        confirmed("\n".join((*_told(result), "Change the state so?")), yes=yes)
        with session.backend.lock(session.project.name, chosen, "state repair"):
            result = mended(_unverified(session, chosen, keyring))
            save(session, chosen, result.deployment, keyring)
    if as_json:
        session.say_json(
            {
                "stack": chosen,
                "broken": [str(v) for v in result.broken],
                "moved": list(result.moved),
                "dropped": [{"urn": u, "kind": k, "target": t} for u, k, t in result.dropped],
                "renamed": dict(result.renamed or {}),
            }
        )
    elif not result.broken:
        session.say(f"The state of {chosen} is sound; there is nothing to repair.")
    else:
        session.say(*_told(result), f"The state of {chosen} is sound now.")
    return int(Exit.OK)


def _told(result: Mended) -> tuple[str, ...]:
    return (
        *(f"broken: {v}" for v in result.broken),
        *(f"put before what needs it: {urn}" for urn in result.moved),
        *(f"dropped: the {kind} {target} of {urn}" for urn, kind, target in result.dropped),
        *(f"renamed: {old} is {new}" for old, new in (result.renamed or {}).items()),
    )


def _unverified(session: Session, stack: str, keyring: Keyring) -> Deployment:
    """The state as it is stored, sound or not; with what a journal adds if it is sound."""
    from tickover.engine.stateio import deployment_from_checkpoint

    try:
        return _present(session, stack, keyring).deployment
    except TickoverError as error:
        if error.code != "state-integrity":
            raise
    data = session.backend.stored(session.project.name, stack)
    return deployment_from_checkpoint(data or b"{}", keyring.for_provider)


def upgrade(session: Session, *, as_json: bool) -> int:
    """`state upgrade`: there is one layout, and it is the newest."""
    session.backend.list_stacks(session.project.name)  # refuses an old layout, and says what helps
    if as_json:
        session.say_json({"upgraded": False})
    else:
        session.say("There is nothing to do: the back end has the newest layout.")
    return int(Exit.OK)
