"""Flags that several commands share, and the session they run in.

Owns: names and help of the shared flags. Promises: Pulumi's names. Never: holds logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickover.views.terminal import Color

if TYPE_CHECKING:
    from tickover.commands.session import Session

# What every group of commands is made with.
PLAIN: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": None,  # rich costs 50 ms of the help
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}

Stack = Annotated[
    str | None,
    typer.Option("-s", "--stack", metavar="STACK", help="Default: PULUMI_STACK, or the selected one."),
]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do it without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
ShowSecrets = Annotated[bool, typer.Option("--show-secrets", help="Show secret values.")]
Nas = Annotated[
    Path | None, typer.Option("--nas", metavar="DIR", help="NAS root; default: the project's own.")
]


def session(color: Color = Color.AUTO) -> Session:
    """The session of this command."""
    from tickover.commands.session import Session

    return Session(color=color)
