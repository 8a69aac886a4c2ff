"""FC's lifecycle hooks: what an instance is asked once before its first request, and once before its end.

Owns: which hooks a function has, how each is called, and what counts as done. Promises: a call ends within
the hook's timeout, with None or with what went wrong. Never: decides when to call, retries, changes an
instance.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from tickover.fc.function import Function, LifecycleHook
from tickover.host.gpu.keeper import Brought
from tickover.host.http import new_request_id
from tickover.host.instance import Instance, PoolSettings
from tickover.host.model import Deepest
from tickover.host.probe import NoAnswer, ask
from tickover.host.runtimes.base import Condition, LaunchPlan, Runtime, RuntimeFailed

log = structlog.get_logger(__name__)

DEFAULT_SECONDS: Final = 3  # FC's, for a hook that says none
_SAID_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook of a function: a request to its server, or a command beside it if there is an argv."""

    name: str  # as in instanceLifecycleConfig
    method: str
    path: str
    seconds: float
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Whose host this is, as instances are told in the headers of a request."""

    region: str = "local"
    account_id: str = ""


def initializer_of(spec: Function) -> Hook | None:
    """What has to be done before the first request; None if nothing."""
    config = spec.instance_lifecycle_config
    return _hook("initializer", "POST", "/initialize", config.initializer if config else None)


def pre_stop_of(spec: Function) -> Hook | None:
    """What has to be done before the end; None if nothing."""
    config = spec.instance_lifecycle_config
    return _hook("preStop", "GET", "/pre-stop", config.pre_stop if config else None)


def due_pre_stop(instance: Instance) -> Hook | None:
    """What has to be called before this one ends: one that never served has nothing to finish."""
    return None if instance.ready_mono_ns is None else pre_stop_of(instance.spec)


def longest_pre_stop(specs: Iterable[Function], settings: PoolSettings) -> float:
    """For how many seconds the hooks of these functions may hold up an end, the wake before them included."""
    hooks = [hook for hook in map(pre_stop_of, specs) if hook is not None]
    # A card may have to be waited for.
    waking = settings.queue_wait_seconds + settings.wake_asleep_deadline_seconds
    return max((hook.seconds + waking for hook in hooks), default=0.0)


def _hook(name: str, method: str, path: str, given: LifecycleHook | None) -> Hook | None:
    """FC hands out objects with an empty handler for hooks that are not there."""
    if given is None or not (given.handler or given.command):
        return None
    return Hook(name, method, path, given.timeout or DEFAULT_SECONDS, tuple(given.command or ()))


def headers(hook: Hook, instance: Instance, account: Account) -> Mapping[str, str]:
    """What a server is told with a hook: as with a request, and which hook it is."""
    return {
        "x-fc-request-id": new_request_id(),
        "x-fc-function-name": instance.key.function_name,
        "x-fc-version-id": instance.version_id,
        "x-fc-qualifier": instance.key.qualifier,
        "x-fc-region": account.region,
        "x-fc-account-id": account.account_id,
        "x-fc-control-path": hook.path,
    }


async def call(
    hook: Hook, instance: Instance, runtime: Runtime, plan: LaunchPlan, account: Account
) -> str | None:
    """Call it once: None when it is done, else what went wrong."""
    if hook.argv:
        trouble = await _run(hook, runtime, instance.ref, plan)
    else:
        trouble = await _ask(hook, runtime.host, plan.port, headers(hook, instance, account))
    say = log.info if trouble is None else log.warning
    say("called a hook", instance=instance.instance_id, hook=hook.name, trouble=trouble or "")
    return f"its {hook.name} failed: {trouble}" if trouble else None


async def pre_stop(
    instance: Instance,
    runtime: Runtime,
    plan: LaunchPlan,
    account: Account,
    wake: Callable[[], Awaitable[Brought]],
    begun: Callable[[], None],
    *,
    was_moving: bool,
) -> str | None:
    """Call the hook of an instance that is about to be ended, awake; what went wrong, which keeps nothing.

    begun: told right before the call. was_moving: it was cut off on its way down or up, so that nobody knows
    how far it came.
    """
    hook = due_pre_stop(instance)
    if hook is None:
        return None
    condition = runtime.condition(instance.ref)
    if condition is Condition.GONE:
        return None
    try:
        if was_moving or condition is Condition.FROZEN or instance.rung is not Deepest.NONE:
            trouble = (await wake()).trouble
            if trouble is not None:
                log.warning("no hook was called", instance=instance.instance_id, trouble=trouble)
                return f"its {hook.name} was not called: it did not wake: {trouble}"
        begun()
        return await call(hook, instance, runtime, plan, account)
    except Exception as error:  # whatever it is: the instance has to end all the same
        log.error("a hook failed inside the host", instance=instance.instance_id, exc_info=error)
        return f"its {hook.name} failed inside the host: {error}"


async def _ask(hook: Hook, host: str, port: int, told: Mapping[str, str]) -> str | None:
    try:
        answer = await ask(host, port, hook.method, hook.path, hook.seconds, headers=told)
    except NoAnswer as error:
        return f"{hook.method} {hook.path}: {error}"
    if 200 <= answer.status < 300:
        return None
    said = " ".join(answer.body[:_SAID_BYTES].decode("utf-8", "replace").split())
    return f"{hook.method} {hook.path} answered {answer.status}" + (f": {said}" if said else "")


async def _run(hook: Hook, runtime: Runtime, ref: str, plan: LaunchPlan) -> str | None:
    try:
        status = await runtime.execute(ref, plan, hook.argv, hook.seconds)
    except RuntimeFailed as error:
        return f"its command {hook.argv[0]}: {error.reason}"
    return None if status.code == 0 else f"its command {hook.argv[0]} {status}"
