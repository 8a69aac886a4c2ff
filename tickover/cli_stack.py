"""Flags of `stack …` and `config …`.

Owns: names and help. Promises: Pulumi's names. Never: holds logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickover.cli_options import PLAIN, AsJson, ShowSecrets, Stack, Yes, session

stack_app = typer.Typer(help="Stacks: ls, select, init, rm, output, export, import, history.", **PLAIN)
config_app = typer.Typer(help="The values of a stack: get, set, rm.", **PLAIN)

StackName = Annotated[str, typer.Argument(metavar="STACK")]
File = Annotated[Path | None, typer.Option("--file", metavar="FILE")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="name, or namespace:name.")]
AsPath = Annotated[
    bool, typer.Option("--path", help="KEY goes on into an object: services.chat.pool.instances")
]


@stack_app.command("ls")
def ls(as_json: AsJson = False) -> int:
    """The project's stacks."""
    from tickover.commands import stacks

    return stacks.ls(session(), as_json=as_json)


@stack_app.command("select")
def select(stack: StackName) -> int:
    """Choose the stack for later commands."""
    from tickover.commands import stacks

    return stacks.select(session(), stack)


@stack_app.command("init")
def init(stack: StackName) -> int:
    """Make an empty stack."""
    from tickover.commands import stacks

    return stacks.init(session(), stack)


@stack_app.command("rm")
def rm(
    stack: StackName,
    yes: Yes = False,
    force: Annotated[bool, typer.Option("--force", help="Even if it still has resources.")] = False,
) -> int:
    """Forget a stack's state and history."""
    from tickover.commands import stacks

    return stacks.rm(session(), stack, yes=yes, force=force)


@stack_app.command("output")
def output(
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    stack: Stack = None,
    as_json: AsJson = False,
    show_secrets: ShowSecrets = False,
) -> int:
    """What the stack exports."""
    from tickover.commands import stacks

    return stacks.output(session(), stack, name, as_json=as_json, show_secrets=show_secrets)


@stack_app.command("export")
def export(stack: Stack = None, file: File = None, show_secrets: ShowSecrets = False) -> int:
    """The state, in Pulumi's own form."""
    from tickover.commands import stacks

    return stacks.export(session(), stack, file, show_secrets=show_secrets)


@stack_app.command("import")
def import_(stack: Stack = None, file: File = None, yes: Yes = False) -> int:
    """Replace the state by an exported one."""
    from tickover.commands import stacks

    return stacks.import_(session(), stack, file, yes=yes)


@stack_app.command("history")
def history(stack: Stack = None, as_json: AsJson = False) -> int:
    """The stack's updates, the newest first."""
    from tickover.commands import stacks

    return stacks.history(session(), stack, as_json=as_json)


@config_app.command("get")
def config_get(
    key: Key,
    stack: Stack = None,
    path: AsPath = False,
    as_json: AsJson = False,
    show_secrets: ShowSecrets = False,
) -> int:
    """A value; the project's default if the stack has none."""
    from tickover.commands import configs

    return configs.get(session(), stack, key, as_path=path, as_json=as_json, show_secrets=show_secrets)


@config_app.command("set")
def config_set(
    key: Key,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="Asked for if absent.")] = None,
    stack: Stack = None,
    path: AsPath = False,
    secret: Annotated[bool, typer.Option("--secret", help="Encrypt it.")] = False,
) -> int:
    """Set a value."""
    from tickover.commands import configs

    return configs.set_(session(), stack, key, value, as_path=path, secret=secret)


@config_app.command("rm")
def config_rm(key: Key, stack: Stack = None, path: AsPath = False) -> int:
    """Remove a value."""
    from tickover.commands import configs

    return configs.rm(session(), stack, key, as_path=path)
