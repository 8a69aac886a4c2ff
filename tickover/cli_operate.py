"""Flags of preview, up, destroy, refresh and cancel.

Owns: names and help. Promises: Pulumi's names. Never: holds logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickover.cli_options import AsJson, Stack, Yes, session
from tickover.views.terminal import Color

JsonInto = Annotated[
    Path | None,
    typer.Option("--json-into", metavar="FILE", help="Write the events as JSON lines to FILE too."),
]
ExpectNoChanges = Annotated[
    bool, typer.Option("--expect-no-changes", help="Change nothing; exit 7 if something would change.")
]
PolicyPack = Annotated[
    list[Path] | None, typer.Option("--policy-pack", metavar="DIR", help="Check by this pack; repeatable.")
]
PolicyConfig = Annotated[
    Path | None, typer.Option("--policy-pack-config", metavar="FILE", help="Configuration of the packs.")
]
Parallel = Annotated[int, typer.Option("--parallel", "-p", metavar="N", help="Steps at a time.")]
Details = Annotated[bool, typer.Option("--diff", help="Show every property that changes.")]
Refresh = Annotated[bool, typer.Option("--refresh", "-r", help="First read how things really are.")]
ColorFlag = Annotated[Color, typer.Option("--color", help="always, never or auto.")]


def add_operations(app: typer.Typer) -> None:
    """Register the operations, in the order of the help."""
    for command in (preview, up, refresh, destroy, cancel):
        app.command()(command)


def preview(
    stack: Stack = None,
    as_json: AsJson = False,
    json_into: JsonInto = None,
    refresh: Refresh = False,
    expect_no_changes: ExpectNoChanges = False,
    policy_pack: PolicyPack = None,
    policy_pack_config: PolicyConfig = None,
    parallel: Parallel = 16,
    diff: Details = False,
    color: ColorFlag = Color.AUTO,
) -> int:
    """What would change, and what it would cost."""
    from tickover.commands import deploy

    options = deploy.Options(
        stack=stack,
        as_json=as_json,
        json_into=json_into,
        refresh=refresh,
        expect_no_changes=expect_no_changes,
        policy_packs=tuple(policy_pack or ()),
        policy_config=policy_pack_config,
        parallel=parallel,
        details=diff,
    )
    return deploy.preview(session(color), options)


def up(
    stack: Stack = None,
    yes: Yes = False,
    as_json: AsJson = False,
    json_into: JsonInto = None,
    refresh: Refresh = False,
    expect_no_changes: ExpectNoChanges = False,
    policy_pack: PolicyPack = None,
    policy_pack_config: PolicyConfig = None,
    parallel: Parallel = 16,
    diff: Details = False,
    color: ColorFlag = Color.AUTO,
) -> int:
    """Preview, ask, apply."""
    from tickover.commands import deploy

    options = deploy.Options(
        stack=stack,
        yes=yes,
        as_json=as_json,
        json_into=json_into,
        refresh=refresh,
        expect_no_changes=expect_no_changes,
        policy_packs=tuple(policy_pack or ()),
        policy_config=policy_pack_config,
        parallel=parallel,
        details=diff,
    )
    return deploy.up(session(color), options)


def refresh(
    stack: Stack = None,
    yes: Yes = False,
    as_json: AsJson = False,
    json_into: JsonInto = None,
    preview_only: Annotated[
        bool, typer.Option("--preview-only", help="Report what drifted, change nothing.")
    ] = False,
    expect_no_changes: ExpectNoChanges = False,
    parallel: Parallel = 16,
    diff: Details = False,
    color: ColorFlag = Color.AUTO,
) -> int:
    """Read how things really are, and take it into the state."""
    from tickover.commands import deploy

    options = deploy.Options(
        stack=stack,
        yes=yes,
        as_json=as_json,
        json_into=json_into,
        preview_only=preview_only,
        expect_no_changes=expect_no_changes,
        parallel=parallel,
        details=diff,
    )
    return deploy.refresh(session(color), options)


def destroy(
    stack: Stack = None,
    yes: Yes = False,
    as_json: AsJson = False,
    json_into: JsonInto = None,
    refresh: Refresh = False,
    parallel: Parallel = 16,
    diff: Details = False,
    color: ColorFlag = Color.AUTO,
) -> int:
    """Delete everything in the stack; its state and config stay."""
    from tickover.commands import deploy

    options = deploy.Options(
        stack=stack,
        yes=yes,
        as_json=as_json,
        json_into=json_into,
        refresh=refresh,
        parallel=parallel,
        details=diff,
    )
    return deploy.destroy(session(color), options)


def cancel(stack: Stack = None, yes: Yes = False) -> int:
    """Break a lock that another run left on the stack."""
    from tickover.commands import deploy

    return deploy.cancel(session(), stack, yes=yes)
