"""Runs the user's program, unmodified, in this process.

Owns: the thread and loop the program runs on, its end, and what an end means. Promises: two runs in one
process do not see each other; a failure is one TickoverError with the user's own frames; a program that is
told to stop ends, or is left behind on a thread that holds up nothing. Never: answers a registration (see
`monitor`).

A program shares this process. What it does to the process as a whole cannot be undone: memory it corrupts,
a signal it sends itself. os._exit on its own thread is taken for sys.exit; threads that it leaves running
end with the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import gc
import inspect
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CoroutineType
from typing import Any, Final

from tickover.engine.programio import Gate, LineSink, captured
from tickover.engine.programplace import HardExit, Place
from tickover.engine.programpool import DaemonPool
from tickover.errors import ConfigError, Exit, TickoverError

ORGANIZATION: Final = "organization"
_ANSWER_SECONDS: Final = 0.5  # a loop that takes longer to answer is held by the user's code
_INTERRUPTS: Final = 4
_DRAIN_SECONDS: Final = 2.0
_SDK_OUTPUTS: Final = os.path.join("pulumi", "output.py")


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """One run. main: file or folder to run. config: full key → text, as Pulumi hands it to a program.

    virtualenv: the one that Pulumi.yaml names. hears_debug: the program's debug messages are wanted.
    """

    root: Path
    main: Path
    project: str
    stack: str
    config: Mapping[str, str]
    secret_keys: tuple[str, ...]
    parallel: int
    dry_run: bool
    virtualenv: Path | None = None
    hears_debug: bool = False


class Interrupted(BaseException):
    """Raised inside a program that does not let its loop run, when it is to stop."""


async def run_program(
    run: ProgramRun,
    monitor: Any,
    engine: Any,
    on_line: Callable[[str], None],
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Run it to its end. Raises TickoverError (a ConfigError that the program raised comes through as is).

    stop: set it to end a program that waits. It then fails with ``program-stopped``, after the calls that
    it has begun were answered, or with ``program-hangs`` if it cannot be ended.
    """
    refuse_missing(run)
    program = _Program(run, monitor, engine, on_line)
    # A daemon: a program that hangs must not keep a process alive that was told to stop twice.
    threading.Thread(target=program.body, name="program", daemon=True).start()
    stopping = asyncio.ensure_future(stop.wait()) if stop is not None else None
    try:
        if stopping is not None:
            both: set[asyncio.Future[Any]] = {program.ended, stopping}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not program.ended.done():
                await program.stop()
        await program.ended
    finally:
        if stopping is not None:
            stopping.cancel()
        if not program.ended.done():
            program.abandon()


class _Program:
    """A run: `body` on its own thread, all else on the engine's loop."""

    def __init__(self, run: ProgramRun, monitor: Any, engine: Any, on_line: Callable[[str], None]) -> None:
        self._run, self._monitor, self._engine = run, monitor, engine
        self._engine_loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._engine_loop.create_future()
        self._gate = Gate(self._engine_loop)
        self._sink = LineSink(on_line, self._gate)
        self._is_stopping = False
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._place: Place | None = None

    # --- on the engine's loop -----------------------------------------------------------------------

    async def stop(self) -> None:
        """End the program: by cancelling what it awaits, else by an exception wherever it is."""
        self._is_stopping = True
        self._gate.open()
        self._in_program(self._cancel)
        for _ in range(_INTERRUPTS):
            if await self._answers():
                return  # it waits for calls that it has begun; their answers, or a second stop, end it
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(Interrupted)
            )
        if not await self._answers():
            raise self._hangs()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _in_program(self, call: Callable[[], Any]) -> bool:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # closed: it has just ended
            return False
        return self._loop is not None

    async def _answers(self) -> bool:
        """True if the program has ended, or its loop runs."""
        heard = asyncio.Event()

        def hear() -> None:
            with suppress(RuntimeError):
                self._engine_loop.call_soon_threadsafe(heard.set)

        self._in_program(hear)
        hearing = asyncio.ensure_future(heard.wait())
        both: set[asyncio.Future[Any]] = {self.ended, hearing}
        await asyncio.wait(both, timeout=_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        hearing.cancel()
        return self.ended.done() or heard.is_set()

    def abandon(self) -> None:
        """Leave the program behind: what it prints passes, and the process is as it was."""
        self._gate.open()
        if self._place is not None:
            self._place.restore()

    def _hangs(self) -> TickoverError:
        frame = sys._current_frames().get(self._thread)
        stack = traceback.extract_stack(frame) if frame is not None else []
        places = [line for f in stack if (line := _users_frame(f, self._run.root))]
        return TickoverError(
            "program-hangs",
            "The program does not end",
            "It was told to stop and did not.\n" + "\n".join(places[-1:]),
            exit_code=Exit.CANCELLED,
        )

    # --- on the program's thread --------------------------------------------------------------------

    def body(self) -> None:
        """Run the program and settle `ended`."""
        self._thread = threading.get_ident()
        error: TickoverError | None = None
        try:
            contextvars.Context().run(self._main)
        except TickoverError as failure:
            error = failure
        except BaseException as failure:  # noqa: BLE001 - whatever it is, someone waits for this thread
            error = _described(failure, self._run.root)
        if self._is_stopping and error is not None:
            error = TickoverError(
                "program-stopped", "The program was stopped", error.detail, exit_code=Exit.CANCELLED
            )
        # An operation that was told to stop at once does not wait for its program.
        with suppress(RuntimeError):
            self._engine_loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: TickoverError | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)

    def _main(self) -> None:
        from tickover.engine.sdkfixes import repaired

        run = self._run
        with captured(self._sink), repaired(hears_debug=run.hears_debug):
            self._place = Place(run.root, run.main, run.virtualenv, self._warn)
            try:
                self._configure()
                self._run_loop()
            finally:
                self._place.restore()

    def _warn(self, text: str) -> None:
        self._sink.write(f"warning: {text}\n")

    def _configure(self) -> None:
        from pulumi.runtime import Settings, configure, set_all_config

        run = self._run
        set_all_config(dict(run.config), list(run.secret_keys))
        configure(
            Settings(
                project=run.project,
                stack=run.stack,
                monitor=self._monitor,
                engine=self._engine,
                parallel=run.parallel,
                dry_run=run.dry_run,
                organization=ORGANIZATION,
                root_directory=str(run.root),
            )
        )

    def _run_loop(self) -> None:
        from pulumi.runtime.stack import run_in_stack

        loop = asyncio.new_event_loop()
        pool = DaemonPool(max(self._run.parallel, 1) * 4, "program-rpc")
        loop.set_default_executor(pool)
        # After a failure the SDK abandons futures by the hundred, all with the cause that is told anyway.
        strays: list[str] = []
        loop.set_exception_handler(lambda _, context: strays.append(_stray(context)))
        asyncio.set_event_loop(loop)
        self._loop = loop
        try:
            self._task = loop.create_task(run_in_stack(lambda: _execute(self._run.main)))
            if self._is_stopping:
                self._task.cancel()
            loop.run_until_complete(self._task)
            for stray in strays:  # nothing else failed: then these are news
                self._sink.write(stray)
        except (TickoverError, Interrupted):
            raise
        except Exception as error:
            _close_abandoned()
            raise _explained(error, self._run.root) from error
        except SystemExit as error:
            raise _exited(error) from error
        finally:
            self._sink.flush()
            _drain(loop)
            pool.shutdown(wait=False, cancel_futures=True)
            asyncio.set_event_loop(None)
            loop.close()


def _explained(error: Exception, root: Path) -> TickoverError:
    from pulumi import RunError

    if isinstance(error, RunError):  # meant for a person, who needs no frames
        return TickoverError("program-failed", "The program stopped", str(error))
    return _described(error, root)


def _exited(error: SystemExit) -> TickoverError:
    name = "os._exit" if isinstance(error, HardExit) else "sys.exit"
    return TickoverError("program-failed", "The program stopped", f"It called {name}({error.code!r}).")


def _stray(context: dict[str, Any]) -> str:
    """A line about a failure that nobody awaited."""
    return f"A task of the program failed: {context.get('exception') or context.get('message')}\n"


def _execute(main: Path) -> None:
    # Named as Pulumi names it, since dynamic providers carry the name along into the state.
    name = "." if main.is_dir() else main.name
    sys.path_importer_cache.pop(name, None)  # of another run, in another folder
    try:
        runpy.run_path(name, run_name="__main__")
    except SystemExit as error:
        if error.code not in (None, 0) or isinstance(error, HardExit):
            raise
        # Else an ordinary end: what was declared so far is still awaited.


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """End what the program left running, so that nothing of it speaks later."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=_DRAIN_SECONDS))


def _close_abandoned() -> None:
    """Close the coroutines that a failed SDK has made and not begun to await: Python would tell of each."""
    for thing in gc.get_objects():
        if not isinstance(thing, CoroutineType) or not thing.cr_code.co_filename.endswith(_SDK_OUTPUTS):
            continue
        if inspect.getcoroutinestate(thing) == inspect.CORO_CREATED:
            thing.close()


def _users_frame(frame: traceback.FrameSummary, root: Path) -> str:
    """The frame as a line; empty unless it is of the project's own code."""
    if not Path(frame.filename).is_relative_to(root) or "site-packages" in frame.filename:
        return ""
    where = Path(frame.filename).relative_to(root)
    return f"{where}:{frame.lineno} in {frame.name}: {(frame.line or '').strip()}"


def _described(error: BaseException, root: Path) -> TickoverError:
    """An exception of the program, with the frames a user wrote."""
    cause: BaseException | None = error
    met: list[BaseException] = []
    while cause is not None and not any(cause is m for m in met):  # the SDK makes chains that bite their tail
        if isinstance(cause, TickoverError):  # a ConfigError raised inside an apply arrives wrapped
            return cause
        met.append(cause)
        cause = cause.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    lines = [line for f in frames if (line := _users_frame(f, root))]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return TickoverError("program-failed", "The program failed", "\n".join([what, *lines]))


def refuse_missing(run: ProgramRun) -> None:
    """Raise ConfigError (exit 2) if there is nothing to run."""
    said = str(run.main.relative_to(run.root)) if run.main.is_relative_to(run.root) else str(run.main)
    if not run.main.exists():
        raise ConfigError("no-program", "No program to run", "Pulumi.yaml's main does not exist.", said)
    if run.main.is_dir() and not (run.main / "__main__.py").is_file():
        detail = f"There is no __main__.py in {run.main.name}."
        raise ConfigError("no-program", "No program to run", detail, said)
