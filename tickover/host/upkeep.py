"""What a host does from time to time for its own tidiness.

Owns: nothing. Promises: ends only what this host has made and lost; a failure is logged and tried again the
next time. Never: touches an instance that is on the roster.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from tickover.host import log_index
from tickover.host.log_index import Whose
from tickover.host.model import InstanceView
from tickover.host.roster import Roster
from tickover.host.runtimes import logs
from tickover.host.runtimes.base import RuntimeFailed
from tickover.host.works import Surroundings

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
_COLLECT_SECONDS = 60.0


async def collect_for_ever(around: Surroundings, roster: Roster) -> None:
    """End what this host has made and lost: it was killed in the middle of a start, or a stop failed."""
    while True:
        for runtime in around.runtimes.values():
            claimed = {i.ref for i in roster.instances.values() if i.runtime == runtime.name}
            try:
                await runtime.collect(claimed)
            except RuntimeFailed as error:
                log.debug("nothing could be collected", runtime=runtime.name, why=error.reason)
        await around.clock.sleep(_COLLECT_SECONDS)


def tidy_logs(around: Surroundings, roster: Roster) -> None:
    """Cut the long ones of who lives, and drop the oldest of who does not."""
    living = set(roster.instances)
    try:
        for instance_id in living:
            log_index.cut(around.log_path(instance_id), around.settings.log_max_bytes)
        logs.tidy(around.log_dir, living, around.settings.logs_kept)
    except OSError as error:
        log.warning("logs could not be tidied", error=str(error))


async def look_for_ever(log_dir: Path, instances: Callable[[], Iterable[InstanceView]]) -> None:
    """Note when the logs of instances grow."""
    is_failing = False
    sizes: dict[str, int] = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            sizes = look_at_logs(log_dir, instances(), sizes)
        except OSError as error:
            if not is_failing:
                log.warning("the times of logs cannot be noted", error=str(error))
            is_failing = True
        else:
            is_failing = False


def look_at_logs(log_dir: Path, views: Iterable[InstanceView], before: Mapping[str, int]) -> dict[str, int]:
    """Once, at those whose size is not what it was; their sizes, by instance. Raises OSError."""
    sizes = {}
    for view in views:
        path = log_dir / f"{view.instance_id}.log"
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:  # it has written nothing, or that was tidied away
            continue
        if before.get(view.instance_id) != size:
            log_index.look(path, Whose(view.function_name, view.qualifier, view.version_id))
        sizes[view.instance_id] = size
    return sizes


def tell_end(task: asyncio.Task[None]) -> None:
    """For the loops that run as long as the pool does."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("the pool's loop has ended. This is a bug in tickover.", exc_info=error)
