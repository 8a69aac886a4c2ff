"""Flags of `stack …` and `config …`.

Owns: names and help. Promises: Pulumi's names. Never: holds logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickover.cli_options import PLAIN, AsJson, ShowSecrets, Stack, Yes, session

stack_app = typer.Typer(
    help="Stacks: ls, select, init, rm, rename, output, export, import, history, tag.", **PLAIN
)
tag_app = typer.Typer(help="A stack's tags: ls, get, set, rm.", **PLAIN)
stack_app.add_typer(tag_app, name="tag")
config_app = typer.Typer(help="The values of a stack: get, set, rm.", **PLAIN)

StackName = Annotated[str, typer.Argument(metavar="STACK")]
File = Annotated[Path | None, typer.Option("--file", metavar="FILE")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="name, or namespace:name.")]
AsPath = Annotated[
    bool, typer.Option("--path", help="KEY goes on into an object: services.chat.pool.instances")
]


@stack_app.command("ls")
@stack_app.command("list", hidden=True)
def ls(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Of every project.")] = False,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Of this project.")] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", "-t", metavar="NAME[=VALUE]", help="Only with this tag.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """The project's stacks."""
    if everything or project is not None or tag is not None:
        from tickover.commands import stackchores

        return stackchores.ls_all(session(), everything=everything, project=project, tag=tag, as_json=as_json)
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
    as_json: Annotated[bool, typer.Option("--json", "-j", help="Answer in JSON.")] = False,
    as_shell: Annotated[bool, typer.Option("--shell", help="Answer as assignments for a shell.")] = False,
    show_secrets: ShowSecrets = False,
) -> int:
    """What the stack exports."""
    from tickover.commands import stacks

    if as_shell:
        from tickover.commands import stackchores

        return stackchores.output_shell(session(), stack, name, as_json=as_json, show_secrets=show_secrets)

    return stacks.output(session(), stack, name, as_json=as_json, show_secrets=show_secrets)


@stack_app.command("export")
def export(
    stack: Stack = None,
    file: File = None,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="As it was after the Nth update.")
    ] = None,
    show_secrets: ShowSecrets = False,
) -> int:
    """The state, in Pulumi's own form."""
    from tickover.commands import stacks

    if version is not None:
        from tickover.commands import stackchores

        return stackchores.export_version(session(), stack, version, file, show_secrets=show_secrets)

    return stacks.export(session(), stack, file, show_secrets=show_secrets)


@stack_app.command("import")
def import_(
    stack: Stack = None,
    file: File = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Even if it is not sound, or of another stack.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", hidden=True, help="Nothing is asked.")] = False,
) -> int:
    """Replace the state by an exported one."""
    from tickover.commands import stackchores

    return stackchores.import_(session(), stack, file, force=force)


@stack_app.command("history")
@stack_app.command("hist", hidden=True)
def history(
    stack: Stack = None,
    as_json: AsJson = False,
    show_secrets: ShowSecrets = False,
    full_dates: Annotated[
        bool, typer.Option("--full-dates", help="Whole dates, which are shown anyway.")
    ] = False,
    page: Annotated[int, typer.Option("--page", min=1, help="With --page-size: which page.")] = 1,
    page_size: Annotated[int, typer.Option("--page-size", min=0, help="Updates a page; 0: all.")] = 0,
) -> int:
    """The stack's updates, the newest first."""
    from tickover.commands import stacks

    return stacks.history(
        session(), stack, as_json=as_json, show_secrets=show_secrets, page=page, page_size=page_size
    )


@stack_app.command("rename")
def rename(
    name: Annotated[str, typer.Argument(metavar="NEWNAME")], stack: Stack = None, as_json: AsJson = False
) -> int:
    """Give a stack another name; its resources stay as they are."""
    from tickover.commands import stackchores

    return stackchores.rename(session(), stack, name, as_json=as_json)


@stack_app.command("change-secrets-provider")
def change_secrets_provider(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="passphrase")],
    stack: Stack = None,
    as_json: AsJson = False,
) -> int:
    """Put the stack's secrets under a new passphrase, asked for or read from standard input."""
    from tickover.commands import stackchores

    return stackchores.change_secrets_provider(session(), stack, provider, as_json=as_json)


@stack_app.command("unselect")
def unselect() -> int:
    """Choose no stack for later commands."""
    from tickover.commands import stackchores

    return stackchores.unselect(session())


@stack_app.command("graph")
def graph(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    stack: Stack = None,
    ignore_parent_edges: Annotated[bool, typer.Option("--ignore-parent-edges")] = False,
    ignore_dependency_edges: Annotated[bool, typer.Option("--ignore-dependency-edges")] = False,
    parent_edge_color: Annotated[str, typer.Option("--parent-edge-color")] = "#AA6639",
    dependency_edge_color: Annotated[str, typer.Option("--dependency-edge-color")] = "#246C60",
    short_node_name: Annotated[bool, typer.Option("--short-node-name", help="Names, not URNs.")] = False,
    dot_fragment: Annotated[str, typer.Option("--dot-fragment", help="DOT text put at the top.")] = "",
) -> int:
    """Write the resources and what they need as a DOT graph."""
    from tickover.commands import stackchores
    from tickover.engine.dot import GraphStyle

    style = GraphStyle(
        short_names=short_node_name,
        parents=not ignore_parent_edges,
        dependencies=not ignore_dependency_edges,
        parent_color=parent_edge_color,
        dependency_color=dependency_edge_color,
        fragment=dot_fragment,
    )
    return stackchores.graph(session(), stack, file, style)


TagName = Annotated[str, typer.Argument(metavar="NAME")]


@tag_app.command("ls")
@tag_app.command("list", hidden=True)
def tag_ls(stack: Stack = None, as_json: AsJson = False) -> int:
    """The stack's tags."""
    from tickover.commands import stackchores

    return stackchores.tag_ls(session(), stack, as_json=as_json)


@tag_app.command("get")
def tag_get(name: TagName, stack: Stack = None) -> int:
    """The value of a tag."""
    from tickover.commands import stackchores

    return stackchores.tag_get(session(), stack, name)


@tag_app.command("set")
def tag_set(
    name: TagName, value: Annotated[str, typer.Argument(metavar="VALUE")], stack: Stack = None
) -> int:
    """Set a tag."""
    from tickover.commands import stackchores

    return stackchores.tag_set(session(), stack, name, value)


@tag_app.command("rm")
@tag_app.command("remove", hidden=True)
def tag_rm(name: TagName, stack: Stack = None) -> int:
    """Remove a tag."""
    from tickover.commands import stackchores

    return stackchores.tag_set(session(), stack, name, None)


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
