"""Runs the user's program, unmodified, in this process.

Owns: the thread and loop the program runs on, and what is put back afterwards (working directory, modules,
environment, standard output). Promises: two runs in one process do not see each other; a failure is one
TickoverError with the user's own frames. Never: answers a registration (see `monitor`).
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from tickover.errors import ConfigError, TickoverError

_LINES: contextvars.ContextVar[_LineSink | None] = contextvars.ContextVar("program_lines", default=None)
ORGANIZATION: Final = "organization"


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """One run. main: file or folder to run. config: full key → text, as Pulumi hands it to a program."""

    root: Path
    main: Path
    project: str
    stack: str
    config: Mapping[str, str]
    secret_keys: tuple[str, ...]
    parallel: int
    dry_run: bool


class _LineSink:
    """Splits what is printed into lines."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._rest = ""

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._emit(line)

    def flush(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, ""
            self._emit(rest)


class _Stdout(io.TextIOBase):
    """Standard output while a program runs: the program's lines go to its sink, all else passes."""

    def __init__(self, real: TextIO) -> None:
        self._real = real

    def write(self, text: str) -> int:
        sink = _LINES.get()
        if sink is None:
            return self._real.write(text)
        sink.write(text)
        return len(text)

    def flush(self) -> None:
        self._real.flush()

    def isatty(self) -> bool:
        return self._real.isatty()

    def fileno(self) -> int:
        return self._real.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._real.encoding


async def run_program(run: ProgramRun, monitor: Any, engine: Any, on_line: Callable[[str], None]) -> None:
    """Run it to its end. Raises TickoverError (a ConfigError that the program raised comes through as is)."""
    sink = _LineSink(on_line)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: TickoverError | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def body() -> None:
        error: TickoverError | None = None
        try:
            contextvars.Context().run(_main, run, monitor, engine, sink)
        except TickoverError as failure:
            error = failure
        except BaseException as failure:  # noqa: BLE001 - whatever it is, someone waits for this thread
            error = _described(failure, run.root)
        # An operation that was told to stop at once does not wait for its program.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, error)

    # A daemon: a program that hangs must not keep a process alive that was told to stop twice.
    threading.Thread(target=body, name="program", daemon=True).start()
    await ended


def _main(run: ProgramRun, monitor: Any, engine: Any, sink: _LineSink) -> None:
    import pulumi
    from pulumi.runtime import Settings, configure, set_all_config
    from pulumi.runtime.stack import run_in_stack

    _LINES.set(sink)
    with _surroundings(run):
        set_all_config(dict(run.config), list(run.secret_keys))
        configure(
            Settings(
                project=run.project,
                stack=run.stack,
                monitor=monitor,
                engine=engine,
                parallel=run.parallel,
                dry_run=run.dry_run,
                organization=ORGANIZATION,
                root_directory=str(run.root),
            )
        )
        loop = asyncio.new_event_loop()
        pool = ThreadPoolExecutor(max_workers=max(run.parallel, 1) * 4, thread_name_prefix="program-rpc")
        loop.set_default_executor(pool)
        # Results that nobody awaits after a failure: the failure itself is reported by name.
        loop.set_exception_handler(lambda _loop, _context: None)
        # After a failure the SDK abandons futures by the hundred, all with the cause that is told anyway.
        strays: list[str] = []
        loop.set_exception_handler(lambda _, context: strays.append(_stray(context)))
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(run_in_stack(lambda: _execute(run.main)))
            for stray in strays:  # nothing else failed: then these are news
                sink.write(stray)
        except TickoverError:
            raise
        except pulumi.RunError as error:
            raise TickoverError("program-failed", "The program stopped", str(error)) from error
        except SystemExit as error:
            raise TickoverError(
                "program-failed", "The program stopped", f"It called sys.exit({error.code!r})."
            ) from error
        except Exception as error:
            raise _described(error, run.root) from error
        finally:
            sink.flush()
            _drain(loop)
            pool.shutdown(wait=False, cancel_futures=True)
            asyncio.set_event_loop(None)
            loop.close()


def _stray(context: dict[str, Any]) -> str:
    """A line about a failure that nobody awaited."""
    return f"A task of the program failed: {context.get('exception') or context.get('message')}\n"


def _execute(main: Path) -> None:
    try:
        runpy.run_path(str(main), run_name="__main__")
    except SystemExit as error:
        if error.code not in (None, 0):  # else an ordinary end: what was declared so far is still awaited
            raise


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """End what the program left running, so that nothing of it speaks later."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


@contextmanager
def _surroundings(run: ProgramRun) -> Iterator[None]:
    """Working directory, import path, standard output and modules as a fresh process would have them."""
    folder = run.main if run.main.is_dir() else run.main.parent
    before_modules, before_path, before_cwd = set(sys.modules), list(sys.path), Path.cwd()
    # Bytecode is matched by size and second: a program edited twice in a second would run in its old form.
    wrote_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    before_env = dict(os.environ)
    real = sys.stdout
    sys.path.insert(0, str(folder))
    sys.stdout = _Stdout(real)
    os.chdir(folder)
    try:
        yield
    finally:
        sys.dont_write_bytecode = wrote_bytecode
        os.chdir(before_cwd)
        if os.environ != before_env:
            os.environ.clear()
            os.environ.update(before_env)
        sys.stdout = real
        sys.path[:] = before_path
        for name in set(sys.modules) - before_modules:
            if _is_of_program(sys.modules[name], run.root):
                del sys.modules[name]


def _is_of_program(module: object, root: Path) -> bool:
    """True for modules of the project itself; installed packages and tickover stay loaded."""
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    if not file or name.partition(".")[0] == "tickover":
        return False
    path = Path(file)
    return path.is_relative_to(root) and not any(p.name == "site-packages" for p in path.parents)


def _described(error: BaseException, root: Path) -> TickoverError:
    """An exception of the program, with the frames a user wrote."""
    cause: BaseException | None = error
    met: list[BaseException] = []
    while cause is not None and not any(cause is m for m in met):  # the SDK makes chains that bite their tail
        if isinstance(cause, TickoverError):  # a ConfigError raised inside an apply arrives wrapped
            return cause
        met.append(cause)
        cause = cause.__cause__
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if Path(f.filename).is_relative_to(root) and "site-packages" not in f.filename
    ]
    lines = [
        f"{Path(f.filename).relative_to(root)}:{f.lineno} in {f.name}: {(f.line or '').strip()}"
        for f in frames
    ]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return TickoverError("program-failed", "The program failed", "\n".join([what, *lines]))


def main_of(root: Path, main: str) -> Path:
    """What runpy runs: the project's ``main``, or its folder. Raises ConfigError (exit 2)."""
    path = (root / main).resolve() if main else root
    if path.is_dir() and not (path / "__main__.py").is_file():
        raise ConfigError(
            "no-program", "No program to run", f"There is no __main__.py in {path.name}.", str(main or ".")
        )
    if not path.exists():
        raise ConfigError("no-program", "No program to run", "Pulumi.yaml's main does not exist.", main)
    return path
