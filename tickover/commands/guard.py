"""How a command ends: errors into text or JSON, and into the exit code of the table.

Owns: the last catch. Promises: every failure has one of `Exit`'s codes; a bug leaves a report file; no
traceback on the terminal. Never: hides a failure.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import typer
from typer.exceptions import TyperException

from tickover.errors import ConfigError, Exit, TickoverError
from tickover.paths import data_home, project_root
from tickover.views.errors import bug_lines, error_json, error_lines
from tickover.views.terminal import for_stream

# Failures of this machine's disks and rights: nobody's bug.
_MACHINE_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR}
)


_INTERRUPTED = 130  # what typer returns for a Ctrl-C that nobody caught


def guarded(call: Callable[[], object], argv: Sequence[str]) -> int:
    """Run a command; its exit code. argv: its words, asked only whether JSON is wanted."""
    try:
        result = call()
        sys.stdout.flush()
        if result == _INTERRUPTED:
            return report(_cancelled(), argv)
        return result if isinstance(result, int) else int(Exit.OK)
    except TickoverError as error:
        return report(error, argv)
    except (KeyboardInterrupt, typer.Abort):
        return report(_cancelled(), argv)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer has no public name for it
            sys.stderr.write(error.format_message() + "\n")
            return int(Exit.CONFIGURATION)
        return report(usage_error(error), argv)
    except BrokenPipeError:
        # The reader (head, a pager) has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.ERROR)
    except OSError as error:
        if error.errno not in _MACHINE_ERRORS:
            return _bug(error)
        what = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
        return report(TickoverError("machine", "This machine refused", what), argv)
    except Exception as error:  # noqa: BLE001 - the outermost catch: every other failure is a bug
        return _bug(error)


def report(error: TickoverError, argv: Sequence[str]) -> int:
    """Say an error; its exit code."""
    if "--json" in argv:
        sys.stdout.write(json.dumps(error_json(error), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    sys.stderr.write("\n".join(error_lines(error, for_stream(sys.stderr))) + "\n")
    return int(error.exit_code)


def usage_error(error: TyperException) -> ConfigError:
    """A mistake in the command line, with the nearest right word."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tickover"
    detail = error.format_message().rstrip(".")
    if near := getattr(error, "possibilities", None):
        detail = f"{path} has no flag {getattr(error, 'option_name', '')}. Did you mean {' or '.join(near)}?"
    elif not detail.endswith("?"):
        detail += "."
    return ConfigError("usage", "Command line not understood", detail, hint=f"{path} --help")


def _cancelled() -> TickoverError:
    return TickoverError("cancelled", "Cancelled", "The command was interrupted.", exit_code=Exit.CANCELLED)


def _bug(error: BaseException) -> int:
    where = _write_report(error)
    summary = f"{type(error).__name__}: {error}"
    sys.stderr.write("\n".join(bug_lines(summary, where, for_stream(sys.stderr))) + "\n")
    return int(Exit.INTERNAL)


def _write_report(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    name = time.strftime("bug-%Y%m%dT%H%M%S", time.gmtime()) + f"-{os.getpid()}.txt"
    try:
        try:
            home = data_home(project_root(Path.cwd()))
        except TickoverError:
            home = Path.cwd() / ".tickover"
        folder = home / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(f"tickover {' '.join(sys.argv[1:2])}\n{sys.version}\n\n{text}", "utf-8")
    except OSError:
        sys.stderr.write(text)  # nowhere to put it, so the person gets it at once
        return ""
    return str(path)
