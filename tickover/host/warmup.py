"""From a process to an instance that can serve: health checks, then one tiny request.

Owns: what is asked of a starting or waking instance. Promises: ends before its deadline, with None or with
the reason why the instance cannot serve. Never: changes an instance.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tickover.fc.function import Function
from tickover.host.probe import NoAnswer, ask, connects
from tickover.host.runtimes.docker_probe import listens_behind

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.25
_CONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HealthRule:
    """When an instance is healthy: its port answers, and its path too if it has one."""

    path: str | None
    delay_seconds: float
    timeout_seconds: float
    successes: int
    is_forwarded: bool = False  # something else accepts for the port: that it connects proves nothing


def listening(rule: HealthRule) -> HealthRule:
    """Only whether it listens: what an initializer waits for."""
    return HealthRule(None, 0, _CONNECT_SECONDS, 1, rule.is_forwarded)


def health_rule(spec: Function, *, is_forwarded: bool = False) -> HealthRule:
    """The rule of a spec, FC's defaults for what is not given."""
    container = spec.custom_container_config
    given = container.health_check_config if container else None
    if given is None or not given.http_get_url:
        return HealthRule(None, 0, _CONNECT_SECONDS, 1, is_forwarded)
    return HealthRule(
        given.http_get_url,
        given.initial_delay_seconds or 0,
        given.timeout_seconds or 1,
        given.success_threshold or 1,
        is_forwarded,
    )


async def until_healthy(host: str, port: int, rule: HealthRule, seconds: float) -> str | None:
    """None when the instance is healthy, else what was wrong at the deadline.

    A starting instance is asked more often than periodSeconds, so that none waits for the next period, and
    failures count only at the deadline: a server may open its port long before its model is loaded.
    """
    trouble = f"nothing listens on port {port}"
    try:
        async with asyncio.timeout(seconds):
            await asyncio.sleep(rule.delay_seconds)
            successes, pause = 0, _FIRST_PAUSE_SECONDS
            while True:
                found = await is_unhealthy(host, port, rule)
                if found is None:
                    successes += 1
                    if successes >= rule.successes:
                        return None
                else:
                    trouble, successes = found, 0
                await asyncio.sleep(pause)
                pause = min(pause * 1.3, _LONGEST_PAUSE_SECONDS)
    except TimeoutError:
        return f"health check failed on port {port} in {seconds:g} seconds: {trouble}"


async def is_unhealthy(host: str, port: int, rule: HealthRule) -> str | None:
    """One check: None if it passes, else what is wrong."""
    if rule.path is None:
        listens = listens_behind if rule.is_forwarded else connects
        return None if await listens(host, port, rule.timeout_seconds) else f"nothing listens on port {port}"
    try:
        answer = await ask(host, port, "GET", rule.path, rule.timeout_seconds)
    except NoAnswer as error:
        return f"GET {rule.path}: {error}"
    return None if 200 <= answer.status < 400 else f"GET {rule.path} answered {answer.status}"


async def warm_up(host: str, port: int, seconds: float) -> str | None:
    """One request of one token, if the server speaks OpenAI's API; None, or why it cannot answer one.

    An answer that refuses (4xx) is an answer: the model may want another form of request.
    """
    try:
        async with asyncio.timeout(seconds):
            model = await _first_model(host, port, seconds)
            if model is None:
                return None
            body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
            answer = await ask(host, port, "POST", "/v1/chat/completions", seconds, body)
    except NoAnswer as error:
        return f"the warm-up request failed: {error}"
    except TimeoutError:
        return f"the warm-up request was not answered within {seconds:g} s"
    if answer.status >= 500:
        return f"the warm-up request was answered {answer.status}"
    return None


async def _first_model(host: str, port: int, seconds: float) -> str | None:
    try:
        answer = await ask(host, port, "GET", "/v1/models", seconds)
    except NoAnswer:
        return None  # not a server of that API; the health check has passed, and that is all that is asked
    found = answer.json() if answer.status == 200 else None
    models = found.get("data") if isinstance(found, dict) else None
    first = models[0] if isinstance(models, list) and models else None
    name = first.get("id") if isinstance(first, dict) else None
    return name if isinstance(name, str) else None
