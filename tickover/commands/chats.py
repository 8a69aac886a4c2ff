"""`tickover chat`: a conversation with a service.

Owns: the answer on the terminal as it is made. Promises: the text alone on standard output; what it took on
standard error. Never: stores a conversation.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from tickover import caller
from tickover.commands.services import Service, authorization, find_service
from tickover.commands.session import Session
from tickover.errors import Exit
from tickover.views.terminal import clean


def chat(
    session: Session,
    stack: str | None,
    name: str | None,
    prompt: str | None,
    *,
    max_tokens: int,
    token: str | None,
    as_json: bool,
) -> int:
    """`chat`: one answer, or a conversation if a person sits there and gave no prompt."""
    service = find_service(session, stack, name)
    headers = authorization(session, service, token)
    if prompt is None and sys.stdin.isatty():
        return _talk(session, service, headers, max_tokens)
    text = prompt if prompt is not None and prompt != "-" else sys.stdin.read()
    messages = [{"role": "user", "content": text}]
    said, answer = ask(service, messages, headers, max_tokens, None if as_json else session)
    if not as_json:
        session.note(session.look.paint(f"({answer.summary()})", "dim"))
    else:
        first = answer.first_byte_seconds
        session.say_json(
            {
                "service": service.name,
                "answer": said,
                "first_byte_seconds": None if first is None else f"{first:.4f}",
                "woke": answer.woke,
                "waited_ms": answer.waited_ms,
                "instance_id": answer.instance,
            }
        )
    return int(Exit.OK)


def ask(
    service: Service,
    messages: Sequence[Mapping[str, str]],
    headers: Mapping[str, str],
    max_tokens: int,
    session: Session | None,
    temperature: float | None = None,
) -> tuple[str, caller.Answer]:
    """One answer, written to the session as it arrives; the whole text and how it came."""
    said: list[str] = []
    with caller.chat(
        service.url,
        service.model,
        messages,
        max_tokens=max_tokens,
        temperature=temperature,
        headers=headers,
    ) as (answer, texts):
        for text in texts:
            said.append(text)
            if session is not None:
                session.write(clean(text))
    if session is not None:
        session.write("\n")
    return "".join(said), answer


def _talk(session: Session, service: Service, headers: Mapping[str, str], max_tokens: int) -> int:
    session.note(f"Talking to {service.name} ({service.model}). An empty line ends it.")
    messages: list[dict[str, str]] = []
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            text = ""
        if not text:
            return int(Exit.OK)
        messages.append({"role": "user", "content": text})
        said, answer = ask(service, messages, headers, max_tokens, session)
        session.note(session.look.paint(f"({answer.summary()})", "dim"))
        messages.append({"role": "assistant", "content": said})
