"""The commands that a program runs, heard as the program itself is.

Owns: standard streams of child processes started by a program's threads. Promises: what they would print to
the terminal becomes lines of the program; they read an empty input, as the program does. Never: touches a
stream that the program directed elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_CHUNK_BYTES: Final = 65_536
_REST_SECONDS: Final = 1.0
_STREAMS: Final = {"stdin": 3, "stdout": 4, "stderr": 5}  # their places among Popen's positional arguments


class Drain:
    """A pipe whose other end is read by a thread of its own, made when it is first needed."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._write = -1
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()

    def descriptor(self) -> int:
        with self._lock:
            if self._reader is None:
                read, self._write = os.pipe()
                self._reader = threading.Thread(
                    target=self._run, args=(read,), name="program-children", daemon=True
                )
                self._reader.start()
            return self._write

    def _run(self, read: int) -> None:
        with os.fdopen(read, "rb", buffering=0) as stream:
            while data := stream.read(_CHUNK_BYTES):
                self._tell(data.decode("utf-8", "replace"))

    def close(self) -> None:
        """Wait for what ended children said; one that lives on is not waited for."""
        if self._reader is not None:
            os.close(self._write)
            self._reader.join(_REST_SECONDS)


@contextmanager
def heard_children(is_program: Callable[[], bool], tell: Callable[[str], None]) -> Iterator[None]:
    """Within it, children of threads for which is_program holds print to tell."""
    drain = Drain(tell)
    real_init, real_system = subprocess.Popen.__init__, os.system

    def init(self: Any, args: Any, *more: Any, **named: Any) -> None:
        if is_program():
            for name, place in _STREAMS.items():
                if len(more) < place and named.get(name) is None:
                    named[name] = subprocess.DEVNULL if name == "stdin" else drain.descriptor()
        real_init(self, args, *more, **named)

    def system(command: Any) -> int:
        if not is_program():
            return real_system(command)
        code = subprocess.run(command, shell=True, check=False).returncode
        return code << 8 if code >= 0 else -code

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]
    os.system = system
    try:
        yield
    finally:
        subprocess.Popen.__init__ = real_init  # type: ignore[method-assign]
        os.system = real_system
        drain.close()
