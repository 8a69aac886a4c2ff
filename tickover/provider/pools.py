"""Reserved pools and instance limits.

Owns: the handlers of ProvisionConfig and ConcurrencyConfig, and when a pool counts as ready. Promises: a
pool is done when current == target; what keeps it from that is said in FC's own words. Never: sizes a pool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tickover.engine.provider import CheckFailure, DeleteRequest, UpdateRequest
from tickover.engine.values import PropertyMap, reveal
from tickover.fc.concurrency import ConcurrencyConfig
from tickover.fc.errors import FcError
from tickover.fc.provision import ProvisionConfig
from tickover.provider.faults import is_missing
from tickover.provider.handler import Handler, is_unknown
from tickover.provider.run import Poll, Run
from tickover.provider.timetable import problems

# A currentError must be seen this often in a row, and for this long, before it counts: pools recover from
# some by themselves. A host tells at once what its processes die of.
ERRORS_TO_FAIL = 3
ERROR_SECONDS = {"host": 0.0, "cloud": 15.0}
# Words of errors that FC itself gets over; these are waited out until the deadline.
PASSING_WORDS = ("an internal error", "resources are being replenished")
SWITCHES = ("alwaysAllocateCPU", "alwaysAllocateGPU")


def look_at_pool(run: Run, function_name: str, qualifier: str) -> Callable[[], Awaitable[Poll]]:
    """A look at a pool for `Run.until`; it counts errors in a row."""
    failed_at: list[float] = []

    async def look() -> Poll:
        seen = await run.call("get_provision_config", function_name, qualifier=qualifier)
        poll = pool_poll(seen, wanted(seen, run.target))
        if not poll.failed:
            failed_at.clear()
            return poll
        failed_at.append(run.clock.now())
        lasting = failed_at[-1] - failed_at[0] >= ERROR_SECONDS[run.target]
        if lasting and len(failed_at) >= ERRORS_TO_FAIL:
            return poll
        return Poll(False, seen, poll.line)

    return look


def pool_poll(seen: Mapping[str, Any], target: int) -> Poll:
    """target, current, currentError → done, waiting or failed."""
    current = int(seen.get("current") or 0)
    line = f"{current} of {target} instances up"
    if current == target == int(seen.get("target") or 0):
        return Poll(True, seen, line)
    error = str(seen.get("currentError") or "")
    if not error:
        return Poll(False, seen, line)
    line = f"{line}: {error.splitlines()[0]}"
    if any(words in error.lower() for words in PASSING_WORDS):
        return Poll(False, seen, line)
    return Poll(False, seen, line, failed=f"The pool has {current} of {target} instances: {error}")


def wanted(seen: Mapping[str, Any], target: str) -> int:
    """The instances to wait for. On the cloud, without a timetable, that is defaultTarget, even while FC's
    own target still has to follow the call. A host's follows at once, and may be one more: an alias of two
    versions has an instance of each."""
    is_late = target == "cloud"
    if is_late and not seen.get("scheduledActions") and not seen.get("targetTrackingPolicies"):
        default = seen.get("defaultTarget")
        if default is not None:
            return int(default)
    return int(seen.get("target") or 0)


class ProvisionConfigHandler(Handler):
    """tickover:fc:ProvisionConfig."""

    token = "tickover:fc:ProvisionConfig"
    noun = "reserved pool"
    model = ProvisionConfig
    ids = ("functionName", "qualifier")
    query_ids = ("qualifier",)
    replaces = frozenset({"functionName", "qualifier"})
    stable = ("functionArn",)
    volatile = ("target", "current", "currentError")
    default_seconds = 900.0
    create_operation = "put_provision_config"
    get_operation = "get_provision_config"
    update_operation = "put_provision_config"
    delete_operation = "delete_provision_config"

    def further_failures(self, known: Mapping[str, Any]) -> tuple[CheckFailure, ...]:
        return problems(known.get("scheduledActions") or ())

    def warnings(self, old: PropertyMap, new: PropertyMap) -> tuple[str, ...]:
        flipped = [s for s in SWITCHES if not is_unknown(new.get(s)) and _switch(old, s) != _switch(new, s)]
        if not flipped:
            return ()
        return (
            f"{' and '.join(flipped)} changes: FC retires every reserved instance, the pool drops to 0 for a "
            "moment. Without a gap: give the new setting to a pool on a second alias, move callers there, "
            "then remove this pool.",
        )

    async def make(self, run: Run, inputs: PropertyMap) -> tuple[str, dict[str, Any]]:
        id = self.id_of(inputs)
        path, query = self._path(id)
        return id, await run.call(self.create_operation, *path, body=self.body(inputs), **query)

    def update_body(self, run: Run, request: UpdateRequest) -> dict[str, Any]:
        return self.body(request.news)  # PUT replaces the whole

    async def settle(self, run: Run, id: str, inputs: PropertyMap, answer: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = id.split("/")
        return await run.until(look_at_pool(run, name, qualifier))

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        await super().delete(run, request)

        async def look() -> Poll:
            seen = await self.get(run, request.id)
            current = int((seen or {}).get("current") or 0)
            return Poll(current == 0, seen or {}, f"{current} instances still up")

        await run.until(look)


def _switch(inputs: PropertyMap, name: str) -> bool:
    value = reveal(inputs.get(name))
    return True if value is None else bool(value)  # FC's default is always on


class ConcurrencyConfigHandler(Handler):
    """tickover:fc:ConcurrencyConfig: PUT on the function, no wait."""

    token = "tickover:fc:ConcurrencyConfig"
    noun = "instance limit of function"
    model = ConcurrencyConfig
    ids = ("functionName",)
    replaces = frozenset({"functionName"})
    stable = ("functionArn",)
    create_operation = "put_concurrency_config"
    get_operation = "get_concurrency_config"
    update_operation = "put_concurrency_config"
    delete_operation = "delete_concurrency_config"

    async def make(self, run: Run, inputs: PropertyMap) -> tuple[str, dict[str, Any]]:
        id = self.id_of(inputs)
        return id, await run.call(self.create_operation, id, body=self.body(inputs))

    async def get(self, run: Run, id: str) -> dict[str, Any] | None:
        try:
            there = await run.call(self.get_operation, id)
        except FcError as error:
            if is_missing(error):
                return None
            raise
        return there if there.get("reservedConcurrency") is not None else None
