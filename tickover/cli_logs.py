"""Flags of `tickover logs`.

Owns: names and help. Promises: Docker's and kubectl's names. Never: holds logic.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tickover.cli_options import AsJson, Stack, session


def logs(
    name: Annotated[
        str | None,
        typer.Argument(metavar="FUNCTION|SERVICE|INSTANCE", help="Default: all functions of the host."),
    ] = None,
    stack: Stack = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="An age such as 10m, or an ISO time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="The same.")] = None,
    tail: Annotated[
        str | None,
        typer.Option("--tail", "-n", metavar="N", help="The last N lines, or all; default 100, or --since."),
    ] = None,
    access: Annotated[
        bool, typer.Option("--access", help="The requests instead: one line for each that has ended.")
    ] = False,
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="ID", help="Of this instance only.")
    ] = None,
    qualifier: Annotated[
        str | None, typer.Option("--qualifier", metavar="NAME", help="Of this alias or version's pool.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="ID", help="Of instances of this version.")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="With times (UTC).")] = False,
    as_json: AsJson = False,
) -> int:
    """What instances write, of all functions or of one; with --access what callers were answered."""
    from tickover.commands import logs as command

    wanted = command.Wanted(
        name=name,
        stack=stack,
        instance=instance,
        qualifier=qualifier,
        version=version,
        since=since,
        until=until,
        tail=tail,
        follow=follow,
        access=access,
        timestamps=timestamps,
        as_json=as_json,
    )
    return command.logs(session(), wanted)
