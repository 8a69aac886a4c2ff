"""Flags of preview, up, destroy, refresh and cancel.

Owns: names and help. Promises: Pulumi's names; every flag is a field of `Options`. Never: holds logic.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tickover.cli_options import AsJson, Stack, Yes, session
from tickover.views.terminal import Color

_URN = "URN"


def _flag(help: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar)


# Field of `options.Options` → its type with flag and help, and its default.
_FLAGS: Final[dict[str, tuple[Any, Any]]] = {
    "stack": (Stack, None),
    "yes": (Yes, False),
    "as_json": (AsJson, False),
    "json_into": (
        Annotated[
            Path | None, _flag("Write the events as JSON lines to FILE too.", "--json-into", metavar="FILE")
        ],
        None,
    ),
    "refresh": (Annotated[bool, _flag("First read how things really are.", "--refresh", "-r")], False),
    "expect_no_changes": (
        Annotated[bool, _flag("Change nothing; exit 7 if something would change.", "--expect-no-changes")],
        False,
    ),
    "skip_preview": (
        Annotated[bool, _flag("Do it without showing a plan first.", "--skip-preview", "-f")],
        False,
    ),
    "targets": (
        Annotated[
            list[str] | None,
            _flag("Only this resource (* and ** are wildcards); repeatable.", "--target", "-t", metavar=_URN),
        ],
        None,
    ),
    "target_dependents": (
        Annotated[bool, _flag("And what depends on the targets.", "--target-dependents")],
        False,
    ),
    "excludes": (
        Annotated[list[str] | None, _flag("All but this resource; repeatable.", "--exclude", metavar=_URN)],
        None,
    ),
    "exclude_dependents": (
        Annotated[bool, _flag("Nor what depends on the excluded.", "--exclude-dependents")],
        False,
    ),
    "replaces": (
        Annotated[
            list[str] | None,
            _flag("Replace this resource whatever its diff says; repeatable.", "--replace", metavar=_URN),
        ],
        None,
    ),
    "target_replaces": (
        Annotated[
            list[str] | None,
            _flag("--target and --replace in one; repeatable.", "--target-replace", metavar=_URN),
        ],
        None,
    ),
    "continue_on_error": (
        Annotated[
            bool, _flag("Go on with what does not depend on a failed resource.", "--continue-on-error")
        ],
        False,
    ),
    "policy_packs": (
        Annotated[
            list[Path] | None, _flag("Check by this pack; repeatable.", "--policy-pack", metavar="DIR")
        ],
        None,
    ),
    "policy_configs": (
        Annotated[
            list[Path] | None,
            _flag("Configuration of the packs, in their order.", "--policy-pack-config", metavar="FILE"),
        ],
        None,
    ),
    "save_plan": (
        Annotated[Path | None, _flag("Keep the plan for `up --plan`.", "--save-plan", metavar="FILE")],
        None,
    ),
    "plan": (
        Annotated[
            Path | None, _flag("Apply this saved plan, exactly or not at all.", "--plan", metavar="FILE")
        ],
        None,
    ),
    "parallel": (Annotated[int, _flag("Steps at a time.", "--parallel", "-p", metavar="N")], 16),
    "details": (Annotated[bool, _flag("Show every property that changes.", "--diff")], False),
    "show_secrets": (Annotated[bool, _flag("Show secret outputs in clear.", "--show-secrets")], False),
    "preview_only": (
        Annotated[bool, _flag("Report what would happen, change nothing.", "--preview-only")],
        False,
    ),
    "run_program": (
        Annotated[
            bool, _flag("Run the program too: for its hooks and provider configurations.", "--run-program")
        ],
        False,
    ),
    "exclude_protected": (
        Annotated[bool, _flag("Leave protected resources, and what they need.", "--exclude-protected")],
        False,
    ),
    "remove": (
        Annotated[bool, _flag("Forget the stack when all of it is deleted, as `stack rm`.", "--remove")],
        False,
    ),
    "clear_pending_creates": (
        Annotated[bool, _flag("Forget creations that were cut off.", "--clear-pending-creates")],
        False,
    ),
    "skip_pending_creates": (
        Annotated[bool, _flag("Leave creations that were cut off.", "--skip-pending-creates")],
        False,
    ),
    "import_pending_creates": (
        Annotated[
            list[str] | None,
            _flag("Take over a creation that was cut off: URN, then id.", "--import-pending-creates"),
        ],
        None,
    ),
    "message": (Annotated[str, _flag("Message for the history.", "--message", "-m")], ""),
    "non_interactive": (
        Annotated[bool, _flag("Ask nothing and draw no live view.", "--non-interactive")],
        False,
    ),
    "color": (Annotated[Color, _flag("always, never or auto.", "--color")], Color.AUTO),
}
_ALL: Final = (
    *("stack", "as_json", "json_into", "parallel", "details", "message", "color"),
    "non_interactive",
)
_LIMITS: Final = ("targets", "target_dependents", "excludes", "exclude_dependents")
_PROGRAM: Final = (
    *("expect_no_changes", "refresh", *_LIMITS, "replaces", "target_replaces", "continue_on_error"),
    *("policy_packs", "policy_configs", "show_secrets"),
)
_PREVIEW: Final = (*_ALL, *_PROGRAM, "save_plan", "plan")
_UP: Final = (*_ALL, *_PROGRAM, "yes", "skip_preview", "plan")
_REFRESH: Final = (
    *(*_ALL, "yes", "skip_preview", "expect_no_changes", "preview_only", "run_program", *_LIMITS),
    *("clear_pending_creates", "skip_pending_creates", "import_pending_creates", "show_secrets"),
)
_DESTROY: Final = (
    *(*_ALL, "yes", "skip_preview", "refresh", "continue_on_error", "run_program", *_LIMITS),
    *("preview_only", "show_secrets", "exclude_protected", "remove"),
)


def add_operations(app: typer.Typer) -> None:
    """Register the operations, in the order of the help."""
    app.command()(_command("preview", "What would change, and what it would cost.", _PREVIEW))
    app.command()(_command("up", "Preview, ask, apply.", _UP))
    app.command()(_command("refresh", "Read how things really are, and take it into the state.", _REFRESH))
    app.command()(_command("destroy", "Delete everything in the stack; its state and config stay.", _DESTROY))
    app.command()(cancel)


def _command(name: str, help: str, fields: Sequence[str]) -> Callable[..., int]:
    """The function of an operation, with a parameter for each field."""

    def run(**given: Any) -> int:
        from tickover.commands import deploy
        from tickover.commands.options import Options

        color = given.pop("color")
        lists = {k: tuple(v or ()) for k, v in given.items() if v is None or isinstance(v, list | tuple)}
        lists = {k: v for k, v in lists.items() if _is_list(k)}
        return deploy.operate(name, session(color), Options(**{**given, **lists}))

    parameters = [
        inspect.Parameter(
            field,
            inspect.Parameter.KEYWORD_ONLY,
            default=_FLAGS[field][1],
            annotation=_FLAGS[field][0],
        )
        for field in fields
    ]
    run.__name__ = name
    run.__doc__ = help
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _is_list(field: str) -> bool:
    return "list[" in str(_FLAGS[field][0])


def cancel(stack: Stack = None, yes: Yes = False) -> int:
    """Break a lock that another run left on the stack."""
    from tickover.commands import deploy

    return deploy.cancel(session(), stack, yes=yes)
