"""The process that talks to the CUDA driver, so that the host never does.

Owns: the loop of requests and answers, one JSON object a line. Promises: says `{"ready": true}` or an error
first; answers each request once; ends when its input ends, or by its own alarm when a call outlasts its limit
(even if the host is gone by then); nothing but answers goes to standard output. Never: decides, tries again.

A request is {"verb", "pid", "limit"} and, for a lock, "timeout_ms".
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from tickover.host.gpu.driver import Driver, DriverError, Libcuda


def serve(make: Callable[[], Driver], requests: Iterable[str], answers: TextIO) -> int:
    """Answer until the requests end. The exit code: 1 if there is no driver to ask."""

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        driver = make()
    except DriverError as error:
        say({"error": error.code, "reason": error.reason})
        return 1
    say({"ready": True})
    for line in requests:
        say(answer(driver, json.loads(line)))
    return 0


def answer(driver: Driver, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request. The alarm's default action ends the process, wherever it is."""
    verb, pid = request["verb"], int(request["pid"])
    signal.setitimer(signal.ITIMER_REAL, float(request["limit"]))
    try:
        match verb:
            case "state":
                return {"state": driver.state(pid)}
            case "lock":
                driver.lock(pid, int(request["timeout_ms"]))
            case "checkpoint":
                driver.checkpoint(pid)
            case "restore":
                driver.restore(pid)
            case "unlock":
                driver.unlock(pid)
            case _:
                return {"error": "unknown-verb", "reason": f"there is no verb {verb!r}"}
    except DriverError as error:
        return {"error": error.code, "reason": error.reason}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {}


def main(make: Callable[[], Driver] = Libcuda) -> int:
    """Serve on the standard streams. What the driver itself prints goes to standard error."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        return serve(make, sys.stdin, answers)


if __name__ == "__main__":
    sys.exit(main())
