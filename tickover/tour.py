"""A round through a stack that has just come up: answer, idle, wake, bill.

Owns: the order of the stations and what each shows. Promises: every figure is measured now; a station that
fails ends the tour with its error. Never: changes the stack.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tickover.caller import Answer
from tickover.commands import bills
from tickover.commands.chats import ask
from tickover.commands.services import GONE, Service, authorization, find_service
from tickover.commands.session import Session
from tickover.errors import Exit, TickoverError
from tickover.host.client import AdminClient
from tickover.views.terminal import seconds_text

QUESTION = "What is the capital of France?"
IDLE_SECONDS = 120.0
_POLL_SECONDS = 0.1
_SIGN_OF_LIFE_SECONDS = 10.0


def tour(session: Session, stack: str | None) -> int:
    """Show what runs. Raises TickoverError."""
    service = find_service(session, stack, None)
    client = AdminClient(session.home)
    _title(session, "The function")
    session.say(f"    {service.url}", "", "Ask it yourself:", f"    {curl_line(service)}")

    _title(session, "A streamed answer")
    first = _question(session, service, QUESTION, 64)
    session.say(f"({first.summary()})")

    _title(session, "Nobody asks: the instance goes idle")
    wait_idle(session, service, client.instances)

    _title(session, "The next request wakes it")
    second = _question(session, service, "Hello!", 16)
    session.say(f"({second.summary()})")

    _title(session, "The bill so far")
    bills.bill(session, None, None, as_json=False)
    return int(Exit.OK)


def _question(session: Session, service: Service, text: str, max_tokens: int) -> Answer:
    """Ask, show the answer as it is made. Raises TickoverError if there is none."""
    session.say(f"> {text}")
    headers = authorization(session, service)
    messages = [{"role": "user", "content": text}]
    said, answer = ask(service, messages, headers, max_tokens, session, temperature=0.0)
    if not said.strip():
        raise TickoverError("empty-answer", "Model gave no answer", f"{service.name} answered with nothing.")
    return answer


def curl_line(service: Service) -> str:
    """A command to paste: a streamed chat completion."""
    body = {
        "model": service.model,
        "stream": True,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    url = f"{service.url}/v1/chat/completions"
    return shlex.join(
        [
            "curl",
            "-N",
            url,
            "-H",
            "Content-Type: application/json",
            "-d",
            json.dumps(body, ensure_ascii=False),
        ]
    )


def wait_idle(
    session: Session,
    service: Service,
    instances_of: Callable[[str], Sequence[Mapping[str, Any]]],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Until every instance of the service is idle; tells each change of state."""
    began = last_said = clock()
    told: dict[str, str] = {}
    while True:
        found = [i for i in instances_of(service.function) if i["state"] not in GONE]
        if not found:
            raise TickoverError(
                "no-instance",
                "No instance is up",
                f"The pool of {service.function} has no instance.",
                hint="tickover ps --all",
            )
        for one in found:
            name, state = str(one["instance_id"]), str(one["state"])
            if told.get(name) != state:
                told[name] = state
                last_said = clock()
                session.say(f"{name}: {state} ({seconds_text(clock() - began)})")
        if all(i["state"] == "idle" for i in found):
            return
        if clock() - began > IDLE_SECONDS:
            raise TickoverError(
                "not-idle",
                "Instance did not go idle",
                f"After {IDLE_SECONDS:.0f} seconds without a request of ours the instances of "
                f"{service.function} are {', '.join(sorted(set(told.values())))}. Does somebody else ask it, "
                "or is idle billing off for the pool?",
                hint="tickover ps",
                exit_code=Exit.TIMEOUT,
            )
        if clock() - last_said > _SIGN_OF_LIFE_SECONDS:
            last_said = clock()
            session.say(f"still waiting ({seconds_text(clock() - began)})")
        sleep(_POLL_SECONDS)


def _title(session: Session, text: str) -> None:
    session.say("", session.look.paint(f"== {text}", "bold"))
