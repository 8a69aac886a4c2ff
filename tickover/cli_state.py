"""Flags of `state …`.

Owns: names and help. Promises: Pulumi's names. Never: holds logic.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tickover.cli_options import PLAIN, AsJson, Stack, Yes, session

state_app = typer.Typer(
    help="Edit the state: delete, rename, move, protect, unprotect, taint, untaint, repair, edit.", **PLAIN
)

Urns = Annotated[list[str] | None, typer.Argument(metavar="URN...")]
Everything = Annotated[bool, typer.Option("--all", help="All resources of the stack.")]


@state_app.command("ls")
def ls(stack: Stack = None, as_json: AsJson = False) -> int:
    """The URNs of the stack's resources."""
    from tickover.commands import states

    return states.ls(session(), stack, as_json=as_json)


@state_app.command("delete")
@state_app.command("remove", hidden=True)
@state_app.command("rm", hidden=True)
def delete(
    urns: Urns = None,
    stack: Stack = None,
    everything: Everything = False,
    force: Annotated[bool, typer.Option("--force", help="Protected ones too.")] = False,
    target_dependents: Annotated[
        bool, typer.Option("--target-dependents", help="And all that depends on them.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Forget resources; they are not destroyed."""
    from tickover.commands import states

    return states.delete(
        session(),
        stack,
        urns or (),
        everything=everything,
        force=force,
        with_dependents=target_dependents,
        yes=yes,
        as_json=as_json,
    )


@state_app.command("rename")
def rename(
    urn: Annotated[str, typer.Argument(metavar="URN")],
    name: Annotated[str, typer.Argument(metavar="NEWNAME")],
    stack: Stack = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Give a resource another name, also wherever it is referred to."""
    from tickover.commands import states

    return states.rename(session(), stack, urn, name, yes=yes, as_json=as_json)


@state_app.command("protect")
def protect(
    urns: Urns = None,
    stack: Stack = None,
    everything: Everything = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Protect resources from being deleted."""
    from tickover.commands import states

    return states.protect(
        session(), stack, urns or (), on=True, everything=everything, yes=yes, as_json=as_json
    )


@state_app.command("unprotect")
def unprotect(
    urns: Urns = None,
    stack: Stack = None,
    everything: Everything = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Let resources be deleted again."""
    from tickover.commands import states

    return states.protect(
        session(), stack, urns or (), on=False, everything=everything, yes=yes, as_json=as_json
    )


@state_app.command("taint")
def taint(urns: Urns = None, stack: Stack = None, yes: Yes = False, as_json: AsJson = False) -> int:
    """Have the next update replace resources."""
    from tickover.commands import states

    return states.taint(session(), stack, urns or (), on=True, everything=False, yes=yes, as_json=as_json)


@state_app.command("untaint")
def untaint(
    urns: Urns = None,
    stack: Stack = None,
    everything: Everything = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Have the next update leave tainted resources as they are."""
    from tickover.commands import states

    return states.taint(
        session(), stack, urns or (), on=False, everything=everything, yes=yes, as_json=as_json
    )


@state_app.command("repair")
def repair(stack: Stack = None, yes: Yes = False, as_json: AsJson = False) -> int:
    """Order the resources, and drop references to what is not there."""
    from tickover.commands import states

    return states.repair(session(), stack, yes=yes, as_json=as_json)


@state_app.command("upgrade")
def upgrade(yes: Yes = False, as_json: AsJson = False) -> int:
    """Bring the back end to the newest layout; it is there already."""
    from tickover.commands import states

    return states.upgrade(session(), as_json=as_json)


@state_app.command("move")
@state_app.command("mv", hidden=True)
def move(
    urns: Annotated[list[str], typer.Argument(metavar="URN...")],
    source: Annotated[
        str | None, typer.Option("--source", metavar="STACK", help="Default: the selected one.")
    ] = None,
    dest: Annotated[
        str | None, typer.Option("--dest", metavar="STACK", help="Default: the selected one.")
    ] = None,
    include_parents: Annotated[
        bool, typer.Option("--include-parents", help="And all above them, but for the stack.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Move resources, with all below them, to another stack of the same back end."""
    from tickover.commands import statemoves

    return statemoves.move(
        session(), source, dest, urns, include_parents=include_parents, yes=yes, as_json=as_json
    )


@state_app.command("edit")
def edit(stack: Stack = None, yes: Yes = False, as_json: AsJson = False) -> int:
    """Edit the state as text, in $EDITOR."""
    from tickover.commands import statemoves

    return statemoves.edit(session(), stack, yes=yes, as_json=as_json)
