"""FC's lifecycle hooks: what an instance is asked once before its first request, and once before its end.

Owns: which hooks a function has, how each is called, and what counts as done. Promises: a call ends within
the hook's timeout, with None or with what went wrong. Never: decides when to call, retries, changes an
instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tickover.fc.function import Function, LifecycleHook
from tickover.host.http import new_request_id
from tickover.host.instance import Instance
from tickover.host.probe import NoAnswer, ask
from tickover.host.runtimes.base import LaunchPlan, Runtime, RuntimeFailed

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


def longest_pre_stop(specs: Iterable[Function]) -> float:
    """For how many seconds the hooks of these functions may hold up an end."""
    hooks = [pre_stop_of(spec) for spec in specs]
    return max((hook.seconds for hook in hooks if hook is not None), default=0.0)


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
    hook: Hook, runtime: Runtime, ref: str, plan: LaunchPlan, told: Mapping[str, str]
) -> str | None:
    """Call it once: None when it is done, else what went wrong."""
    trouble = await (
        _run(hook, runtime, ref, plan) if hook.argv else _ask(hook, runtime.host, plan.port, told)
    )
    return f"its {hook.name} failed: {trouble}" if trouble else None


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
