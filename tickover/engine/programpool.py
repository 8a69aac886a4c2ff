"""Threads for a program's calls that hold up no process that is to end.

Owns: the program's thread pool. Promises: at most so many threads, made when there is work for them; a
thread that hangs does not keep the interpreter alive. Never: knows what a call does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonPool(ThreadPoolExecutor):
    """A ThreadPoolExecutor by type, as asyncio demands of a default executor, with daemon threads."""

    def __init__(self, size: int, name: str) -> None:
        super().__init__(max_workers=size, thread_name_prefix=name)
        self._size, self._name = size, name
        self._todo: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._waiting = threading.Semaphore(0)
        self._made, self._is_shut = 0, False
        self._making = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        self._todo.put((future, fn, args, kwargs))
        if not self._waiting.acquire(blocking=False):
            self._grow()
        return future

    def _grow(self) -> None:
        with self._making:
            if self._made >= self._size:
                return
            self._made += 1
            name = f"{self._name}_{self._made}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (item := self._todo.get()) is not None:
            future, fn, args, kwargs = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - it is the caller's, who awaits the future
                    future.set_exception(error)
            del item, future, fn, args, kwargs  # a waiting thread holds on to no result
            self._waiting.release()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more work; threads end when they are free. wait is not honoured: some never are."""
        self._is_shut = True
        while cancel_futures:
            try:
                item = self._todo.get_nowait()
            except queue.Empty:
                break
            if item is not None:
                item[0].cancel()
        for _ in range(self._made):
            self._todo.put(None)
