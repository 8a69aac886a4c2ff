"""preview, up, destroy, refresh, cancel: the engine's operations on a terminal.

Owns: putting an operation together (the composition root of engine and provider), the question before it
changes something, Ctrl-C. Promises: nothing is changed without a yes or ``--yes``; first Ctrl-C finishes
what runs, the second stops at once. Never: plans or applies.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tickover.commands.options import Options
from tickover.commands.session import Session, confirmed, require_terminal
from tickover.engine.plan import Plan
from tickover.errors import ConfigError, Exit, TickoverError
from tickover.views import details
from tickover.views import money as money_view
from tickover.views.errors import error_json
from tickover.views.findings import Findings
from tickover.views.jsonlines import JsonLines, version_line
from tickover.views.narrator import Narrator
from tickover.views.plan_document import document
from tickover.views.summary import change_count
from tickover.views.terminal import plural, write_lines
from tickover.views.view import View, Views, for_people
from tickover.views.words import WORDS

if TYPE_CHECKING:
    from tickover.engine.operations import Canceller, Outcome, Request

Confirm = Callable[[Plan], Awaitable[bool]]
_Run = Callable[["Request", Confirm], Coroutine[Any, Any, "Outcome"]]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def operate(name: str, session: Session, options: Options) -> int:
    """`tickover preview`, `up`, `refresh` or `destroy`."""
    if name != "preview" and not options.preview_only:
        require_consent(options)
    code = operated(session, options, name, _RUNS[name](options))
    if options.remove and code == Exit.OK and not options.preview_only:
        from tickover.commands.stacks import forget

        tell = session.note if options.as_json else session.say
        tell(forget(session, session.stack(options.stack), force=False))
    return code


def _preview(options: Options) -> _Run:
    async def run(request: Request, confirm: Confirm) -> Outcome:
        from tickover.engine import operations

        return await operations.preview(request)

    return run


def _up(options: Options) -> _Run:
    async def run(request: Request, confirm: Confirm) -> Outcome:
        from tickover.engine import operations

        return await operations.up(request, confirm)

    return run


def _refresh(options: Options) -> _Run:
    async def run(request: Request, confirm: Confirm) -> Outcome:
        from tickover.engine import operations

        return await operations.refresh(request, confirm, preview_only=options.preview_only)

    return run


def _destroy(options: Options) -> _Run:
    async def run(request: Request, confirm: Confirm) -> Outcome:
        from tickover.engine import operations

        return await operations.destroy(request, confirm, preview_only=options.preview_only)

    return run


_RUNS: Final = {"preview": _preview, "up": _up, "refresh": _refresh, "destroy": _destroy}


def cancel(session: Session, stack: str | None, *, yes: bool) -> int:
    """`tickover cancel`: break the stack's lock."""
    name = session.stack(stack)
    holders = session.backend.holders(session.project.name, name)
    if not holders:
        session.say(f"Nobody holds the lock of {name}.")
        return int(Exit.OK)
    session.say(*(f"{name} is locked by {holder}" for holder in holders))
    confirmed("Break the lock? A run that still works on the stack may damage its state", yes=yes)
    session.backend.cancel(session.project.name, name)
    session.say(f"The lock of {name} is broken.")
    return int(Exit.OK)


# --- one operation -------------------------------------------------------------------------------------


def require_consent(options: Options) -> None:
    """Raises ConfigError where a question would have to be asked and cannot be."""
    if options.yes or options.expect_no_changes:
        return
    flag = "--json" if options.as_json else "--non-interactive" if options.non_interactive else ""
    if flag:
        raise ConfigError("no-confirmation", "Nobody can be asked", f"{flag} asks no questions; add --yes.")
    require_terminal()


def operated(session: Session, options: Options, operation: str, run: _Run) -> int:
    """Do it with its views, and say how it ended."""
    stack = session.stack(options.stack)
    price = money_view.pricer()
    findings = Findings()
    with ExitStack() as cleanup:
        streams = _streams(options, operation, stack, price, cleanup)
        chosen: list[View] = [findings, *streams]
        if not options.as_json:
            lines = money_view.cost_lines(price)
            narrator = Narrator(
                replace(session.look, is_live=session.look.is_live and not options.non_interactive),
                lines,
                operation=_told_as(options, operation),
                with_details=options.details,
                show_secrets=options.show_secrets,
                is_policed=bool(options.policy_packs),
            )
            chosen.append(for_people(sys.stdout, narrator))
        views = Views(chosen)
        request = _request(session, options, stack, views)
        interrupts = Interrupts(request.canceller, session)
        confirm = _confirm(session, options, operation, interrupts)
        try:
            with views:
                outcome = _finished(_run_watched(run(request, confirm), interrupts), findings, stack)
        except TickoverError as error:
            for stream in streams:
                if not stream.is_for(sys.stdout):  # there, whoever catches the error says it
                    stream.write(error_json(error))
            raise
    if options.save_plan is not None and outcome.exit_code is Exit.OK:
        from tickover.commands.requests import keep_plan

        keep_plan(session, stack, outcome, options)
    if operation == "preview" and options.as_json:
        is_failed = outcome.exit_code is not Exit.OK
        session.say_json(document(outcome.plan, price(outcome.plan), findings.found, errored=is_failed))
    return _exit_code(session, options, outcome)


def _finished(work: Coroutine[Any, Any, Outcome], findings: Findings, stack: str) -> Outcome:
    try:
        return asyncio.run(work)
    except asyncio.CancelledError as error:
        steps = "".join(f"\n  {WORDS[s.op].doing} {s.type} {s.name}" for s in findings.under_way)
        detail = "The run was stopped at once."
        if steps:
            detail += f" These calls were under way and may have had an effect:{steps}\n"
            detail += "What had ended is kept; the next run names these calls and looks again."
        raise TickoverError(
            "cancelled",
            "Stopped",
            detail,
            address=stack,
            hint=f"tickover up -s {stack} --refresh" if steps else "",
            exit_code=Exit.CANCELLED,
        ) from error


def _streams(
    options: Options, operation: str, stack: str, price: money_view.Pricer, cleanup: ExitStack
) -> list[JsonLines]:
    from tickover.engine.backend import engine_version

    streams: list[JsonLines] = []
    if options.json_into is not None:
        streams.append(JsonLines(cleanup.enter_context(options.json_into.open("w", encoding="utf-8")), price))
    if options.as_json and operation != "preview":  # a preview prints the plan document instead
        streams.append(JsonLines(sys.stdout, price))
    for stream in streams:
        stream.write(version_line(operation, stack, engine_version()))
    return streams


def _request(session: Session, options: Options, stack: str, views: Views) -> Request:
    from tickover.commands.requests import saved_plan, sources
    from tickover.engine.operations import Request
    from tickover.engine.pendings import PendingCreations
    from tickover.engine.targeting import Choice

    if options.parallel < 1:
        raise ConfigError("bad-flag", "Flag value is too small", f"--parallel is {options.parallel}.")
    for path in (*options.policy_packs, *options.policy_configs):
        if not path.exists():
            raise ConfigError("no-such-path", "Path does not exist", f"There is no {path}.", str(path))
    if options.policy_configs and not options.policy_packs:
        raise ConfigError(
            "bad-flag",
            "Flag needs another",
            "--policy-pack-config configures a pack: name it by --policy-pack.",
        )
    factories, plugins = sources(session)
    return Request(
        project=session.project,
        stack=stack,
        backend=session.backend,
        providers=factories,
        plugins=plugins,
        on_event=views.on_event,
        passphrase=session.passphrase(stack),
        parallel=options.parallel,
        refresh=options.refresh,
        policy_packs=tuple(p.resolve() for p in options.policy_packs),
        policy_config=tuple(p.resolve() for p in options.policy_configs),
        choice=Choice(
            targets=(*options.targets, *options.target_replaces),
            excludes=options.excludes,
            replaces=(*options.replaces, *options.target_replaces),
            target_dependents=options.target_dependents,
            exclude_dependents=options.exclude_dependents,
        ),
        continue_on_error=options.continue_on_error,
        skip_preview=options.skip_preview,
        run_program=options.run_program,
        exclude_protected=options.exclude_protected,
        saved_plan=saved_plan(session, stack, options.plan),
        pending=PendingCreations(
            clear=options.clear_pending_creates, imports=_pairs(options.import_pending_creates)
        ),
        message=options.message,
    )


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    """URN → id of words that name them by turns, or two to a word."""
    flat = [part for word in words for part in word.split()]
    if len(flat) % 2:
        raise ConfigError(
            "bad-flag", "Flag value is not a pair", "--import-pending-creates takes a URN and an id each."
        )
    return dict(zip(flat[::2], flat[1::2], strict=True))


class Interrupts:
    """Ctrl-C and SIGTERM while an operation runs: the first asks it to end well, the second to stop."""

    def __init__(self, canceller: Canceller, session: Session) -> None:
        self._canceller = canceller
        self._session = session
        self._presses = 0

    def pressed(self) -> None:
        """One of the signals came."""
        self._presses += 1
        self._session.note(
            "Interrupted: finishing the steps that run, then saving. Again to stop now."
            if self._presses == 1
            else "Stopping now."
        )
        self._canceller.cancel()

    def watch(self) -> None:
        """From now on, signals come here."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.pressed)

    def unwatch(self) -> None:
        """From now on, signals do what they do without us: Ctrl-C ends a question."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _run_watched(work: Coroutine[Any, Any, Outcome], interrupts: Interrupts) -> Outcome:
    interrupts.watch()
    try:
        return await work
    finally:
        interrupts.unwatch()


def _confirm(session: Session, options: Options, operation: str, interrupts: Interrupts) -> Confirm:
    async def confirm(plan: Plan) -> bool:
        if options.expect_no_changes and plan.has_changes:
            return False
        if options.yes or options.expect_no_changes or not plan.has_changes:
            return True
        interrupts.unwatch()
        try:
            # Blocking is right here: nothing else is to happen until the person has answered.
            return _ask(session, operation, plan, options.show_secrets)
        finally:
            interrupts.watch()

    return confirm


def _told_as(options: Options, operation: str) -> str:
    if not options.preview_only:
        return operation
    return "drift" if operation == "refresh" else "preview"


def _ask(session: Session, operation: str, plan: Plan, show_secrets: bool) -> bool:
    while True:
        try:
            answer = input(f"\nPerform this {operation}? [yes/no/details]: ").strip().lower()
        except (KeyboardInterrupt, EOFError):
            session.say("")
            return False
        if answer in ("yes", "y"):
            return True
        if answer in ("no", "n"):
            return False
        if answer in ("details", "d"):
            write_lines(sys.stdout, details.render(plan, session.look, show_secrets=show_secrets))


def _exit_code(session: Session, options: Options, outcome: Outcome) -> int:
    is_declined = outcome.result == "cancelled" and options.expect_no_changes
    if outcome.exit_code is not Exit.OK and not is_declined:
        return int(outcome.exit_code)
    if options.expect_no_changes and outcome.plan.has_changes:
        count = change_count(outcome.plan.counts)
        what = plural(count, "change") if count else "changed outputs"
        session.note(f"error: no changes were expected, and there would be {what}.")
        return int(Exit.CHANGES)
    return int(outcome.exit_code)
