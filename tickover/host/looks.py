"""Looking at folders that may not answer: a NAS whose server is gone.

Owns: the threads that look. Promises: a look that takes too long is an error that names the folder and delays
nobody else; while its thread still waits, no other one is sent after it. Never: ends such a thread, for
nothing can; none is waited for when the host ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tickover.fc.function import Function
from tickover.host.runtimes.base import RuntimeFailed

T = TypeVar("T")

LOOK_SECONDS: Final = 5.0  # a file server that is well takes milliseconds


@dataclass(eq=False)
class FolderSilent(RuntimeFailed):
    """A look did not come back."""


class Looks:
    """Looks at the folders of one host. seconds: how long one may take."""

    def __init__(self, seconds: float = LOOK_SECONDS) -> None:
        self._seconds = seconds
        self._out: dict[str, threading.Thread] = {}  # by what is looked at, for as long as it takes

    async def of(self, spec: Function, look: Callable[[], T]) -> T:
        """A look that concerns the mounts of a function. Raises FolderSilent."""
        points = (spec.nas_config.mount_points if spec.nas_config else None) or ()
        if not points:
            return look()
        return await self.at(", ".join(f"NAS {point.server_addr}" for point in points), look)

    async def at(self, what: str, look: Callable[[], T]) -> T:
        """What look returns or raises. Raises FolderSilent if it takes too long, or one before still does."""
        thread = self._out.get(what)
        if thread is not None and thread.is_alive():
            raise FolderSilent(self._silent(what))
        loop = asyncio.get_running_loop()
        told: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, error: BaseException | None) -> None:
            if told.done():
                return
            if error is not None:
                told.set_exception(error)
            else:
                told.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result, error = None, None
            try:
                result = look()
            except Exception as caught:  # noqa: BLE001 - told to who has asked
                error = caught
            with contextlib.suppress(RuntimeError):  # nobody is there to be told any more
                loop.call_soon_threadsafe(tell, result, error)

        thread = self._out[what] = threading.Thread(target=run, daemon=True, name=f"look at {what}")
        thread.start()
        try:
            async with asyncio.timeout(self._seconds):
                return await told
        except TimeoutError:
            if told.cancelled():
                raise FolderSilent(self._silent(what)) from None
            raise  # the look's own
        finally:
            if told.done() and not told.cancelled():
                del self._out[what]

    def _silent(self, what: str) -> str:
        return f"{what} has not answered for {self._seconds:g} s; is the file server behind it up?"
