"""The process as a program may expect it to be, and as it was when the program has ended.

Owns: working directory, arguments, import path and modules, environment, hooks, the packages of another
virtual environment. Promises: `restore` puts all back, once, from whatever thread. Never: runs the program.
"""

from __future__ import annotations

import logging
import os
import signal
import site
import sys
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

# Loaded before any program runs, so that a program's own copy is not the one it gets.
_SHARED: Final = ("pulumi", "grpcio", "protobuf")


class HardExit(SystemExit):
    """The program called os._exit, which would end this process and not the program alone."""


class Place:
    """Made on the program's thread; everything the program may change of the process and does not own."""

    def __init__(self, root: Path, main: Path, virtualenv: Path | None, warn: Callable[[str], None]) -> None:
        self._root = root
        self._modules, self._path, self._cwd = set(sys.modules), list(sys.path), Path.cwd()
        self._argv, self._environment = list(sys.argv), dict(os.environ)
        self._writes_bytecode, self._depth = sys.dont_write_bytecode, sys.getrecursionlimit()
        self._hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        self._signal, self._exit = signal.signal, os._exit
        logger = logging.getLogger()
        self._logging = (list(logger.handlers), logger.level)
        self._once = threading.Lock()
        folder = main if main.is_dir() else main.parent
        # Bytecode is matched by size and second: a program edited twice in a second would run as it was.
        sys.dont_write_bytecode = True
        sys.argv = ["." if main.is_dir() else main.name]
        if virtualenv is not None:
            for warning in use_virtualenv(virtualenv):
                warn(warning)
        sys.path.insert(0, str(folder))
        os.chdir(folder)
        self._guard(threading.get_ident())

    def _guard(self, program: int) -> None:
        """What would reach past the program, as far as it can be held back."""
        real_signal, real_exit, pid = self._signal, self._exit, os.getpid()

        def set_handler(number: int, handler: Any) -> Any:
            if threading.get_ident() == program:  # not the main thread, where a program would expect to be
                return signal.getsignal(number)
            return real_signal(number, handler)

        def leave(code: int) -> None:
            if os.getpid() == pid and threading.get_ident() == program:  # else a forked child, which must end
                raise HardExit(code)
            real_exit(code)

        signal.signal = set_handler  # type: ignore[assignment]
        os._exit = leave  # type: ignore[assignment]

    def restore(self) -> None:
        """The process as it was."""
        if not self._once.acquire(blocking=False):
            return
        signal.signal, os._exit = self._signal, self._exit
        sys.dont_write_bytecode = self._writes_bytecode
        sys.setrecursionlimit(self._depth)
        os.chdir(self._cwd)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        sys.argv, sys.path[:] = self._argv, self._path
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks
        logger = logging.getLogger()
        logger.handlers[:], logger.level = self._logging[0], self._logging[1]
        logging.Logger.manager._clear_cache()  # type: ignore[attr-defined]
        for name in set(sys.modules) - self._modules:
            if _is_of_program(sys.modules[name], self._root):
                del sys.modules[name]


def _is_of_program(module: object, root: Path) -> bool:
    """True for modules of the project itself; installed packages and tickover stay loaded."""
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    if not file or name.partition(".")[0] == "tickover":
        return False
    path = Path(file)
    return path.is_relative_to(root) and not any(p.name == "site-packages" for p in path.parents)


def use_virtualenv(folder: Path) -> list[str]:
    """Put the packages of the virtual environment at folder first; what a person should know of it.

    The interpreter stays this one, and so do the packages that it has loaded.
    """
    if folder.resolve() == Path(sys.prefix).resolve():
        return []
    if not folder.is_dir():
        return [f"Pulumi.yaml names the virtual environment {folder.name}, which does not exist."]
    packages = sorted(folder.glob("lib/python*/site-packages"))
    own = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if own not in packages:
        made_for = ", ".join(p.parent.name for p in packages) or "nothing"
        return [
            f"The virtual environment {folder.name} holds packages for {made_for}, and the program runs "
            f"under {own.parent.name}: they are not used."
        ]
    before = list(sys.path)
    site.addsitedir(str(own))
    added = [p for p in sys.path if p not in before]
    sys.path[:] = [*added, *before]
    return [
        f"The virtual environment {folder.name} has {name} {theirs}, and the program runs with {ours}, "
        "which is loaded already."
        for name in _SHARED
        if (theirs := _version(name, str(own))) and (ours := _loaded_version(name, before)) != theirs
    ]


def _version(name: str, folder: str) -> str:
    found = next(iter(metadata.distributions(name=name, path=[folder])), None)
    return found.version if found is not None else ""


def _loaded_version(name: str, path: list[str]) -> str:
    return next((v for folder in path if (v := _version(name, folder))), "")


def virtualenv_of(root: Path, options: Mapping[str, Any]) -> Path | None:
    """The virtual environment that ``runtime.options`` of the project at root names."""
    named = options.get("virtualenv") or (".venv" if options.get("toolchain") == "uv" else "")
    return (root / str(named)).absolute() if named else None
