"""Flags of plugin and import.

Owns: names and help. Promises: Pulumi's names. Never: holds logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickover.cli_options import PLAIN, AsJson, Stack, Yes, session
from tickover.views.terminal import Color

plugin_app = typer.Typer(help="Provider plugins: install, ls, rm.", **PLAIN)


@plugin_app.command("install")
def plugin_install(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[KIND] NAME [VERSION]", help="For example resource random v4.19.0."),
    ],
    server: Annotated[str, typer.Option("--server", metavar="URL", help="Where to download from.")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="An archive or a binary here.")
    ] = None,
    checksum: Annotated[
        str, typer.Option("--checksum", metavar="SHA256", help="What the archive must have.")
    ] = "",
    reinstall: Annotated[bool, typer.Option("--reinstall", help="Even if it is there.")] = False,
) -> int:
    """Download a provider plugin into Pulumi's cache."""
    from tickover.commands import plugins

    return plugins.install(session(), words, server=server, file=file, checksum=checksum, reinstall=reinstall)


@plugin_app.command("ls")
def plugin_ls(as_json: AsJson = False) -> int:
    """Plugins in the cache."""
    from tickover.commands import plugins

    return plugins.ls(session(), as_json=as_json)


@plugin_app.command("rm")
def plugin_rm(
    words: Annotated[list[str] | None, typer.Argument(metavar="[KIND] [NAME] [VERSION]")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All of them.")] = False,
    yes: Yes = False,
) -> int:
    """Remove plugins from the cache."""
    from tickover.commands import plugins

    return plugins.rm(session(), words or [], every=everything, yes=yes)


def import_(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[TYPE NAME ID]", help="One object, or see --file.")
    ] = None,
    stack: Stack = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="JSON: resources, nameTable.")
    ] = None,
    parent: Annotated[str, typer.Option("--parent", metavar="NAME=URN|URN", help="Its parent.")] = "",
    provider: Annotated[
        str, typer.Option("--provider", metavar="NAME=URN|URN", help="Its provider resource.")
    ] = "",
    protect: Annotated[
        str, typer.Option("--protect", metavar="true|false", help="Protect what is imported.")
    ] = "true",
    generate_code: Annotated[
        str, typer.Option("--generate-code", metavar="true|false", help="Show the code that declares it.")
    ] = "true",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Code goes there.")] = None,
    skip_preview: Annotated[bool, typer.Option("--skip-preview", help="Do it at once.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    json_into: Annotated[
        Path | None, typer.Option("--json-into", metavar="FILE", help="Events as JSON lines to FILE too.")
    ] = None,
    color: Annotated[Color, typer.Option("--color", help="always, never or auto.")] = Color.AUTO,
) -> int:
    """Take existing objects into the stack."""
    from tickover.commands import imports
    from tickover.commands.options import Options

    options = Options(stack=stack, yes=yes, as_json=as_json, json_into=json_into, skip_preview=skip_preview)
    wanted = imports.wanted(words or [], file, parent, provider, _truth(protect))
    shows_code = _truth(generate_code)
    return imports.run(session(color), options, wanted, shows_code, out)


def _truth(text: str) -> bool:
    return text.lower() not in ("false", "0", "no")
