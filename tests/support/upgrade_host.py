"""A host that comes to grief at a step of a hand-over: ``upgrade_host.py HOW:WHEN:WORD run …``.

HOW: kill or stop (SIGSTOP). WHEN: sent or heard. WORD: the message of the hand-over at which it happens.
``none`` instead: a host as any other; ``hurried``: one that waits but a second for its successor.
"""

from __future__ import annotations

import os
import signal
import sys

from tickover.host import line, main, succession

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def arm(how: str, when: str, word: str) -> None:
    send, put = line.Line.send, line.Talk.hear

    def fall(message: line.Message) -> None:
        if message.get("do") == word:
            os.kill(os.getpid(), SIGNALS[how])

    def sending(self: line.Line, message: line.Message, files: tuple[int, ...] = ()) -> None:
        send(self, message, files)
        if when == "sent":
            fall(message)

    async def hearing(self: line.Talk, seconds: float) -> tuple[line.Message, list[int]]:
        found = await put(self, seconds)
        if when == "heard":
            fall(found[0])
        return found

    line.Line.send = sending  # type: ignore[method-assign, assignment]
    line.Talk.hear = hearing  # type: ignore[method-assign]


if __name__ == "__main__":
    point = sys.argv[1]
    if point == "hurried":
        succession.TAKE_SECONDS = 1.0  # type: ignore[misc]
        succession.END_SECONDS = 0.5  # type: ignore[misc]
    elif point != "none":
        arm(*point.split(":"))
    sys.exit(main.main(sys.argv[2:]))
