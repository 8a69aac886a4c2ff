"""The end of a command in a container that took too long; Docker's API has none for it.

Owns: the mark that such a command hands down to all that it starts, and the ways to end what carries it.
Promises: nothing without the mark or a marked parent is signalled, so the container's own processes live on;
it is over within `END_SECONDS`, and what may be left is said. Never: starts or ends a container.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from tickover.host.runtimes import procfs
from tickover.host.runtimes.base import RuntimeFailed

if TYPE_CHECKING:
    from tickover.host.runtimes.docker_engine import Engine

VARIABLE: Final = "TICKOVER_COMMAND_ID"
END_SECONDS: Final = 5.0
_ROUNDS: Final = 20  # a process may be born while its parent is being killed
_LOOK_AGAIN_SECONDS: Final = 0.02
_NOT_FOUND_CODES: Final = (126, 127)
_DENIED: Final = "this host cannot end processes of its container (root can)"

# For a host that may not signal the container's processes. It sees the mark of others and carries none. A
# zombie has no environment, so that the last look finds only what lives.
_SCRIPT: Final = """
command -v cat > /dev/null || exit 127
each() {
  found=1
  for place in /proc/[0-9]*; do
    case "$(cat "$place/environ" 2> /dev/null)" in *"$0"*) found=0; kill -9 "${place#/proc/}";; esac
  done
  return $found
}
for turn in 1 2 3 4 5 6 7 8 9; do each || exit 0; done
exit 1
"""


def new_mark() -> str:
    return secrets.token_hex(16)


async def end(engine: Engine, ref: str, command: str, mark: str) -> str:
    """End a command of a container, with all it has started; why something may be left, empty if nothing is.

    command: its id at the engine.
    """
    try:
        async with asyncio.timeout(END_SECONDS):
            if await _from_here(engine, command, mark):
                return ""
            return await _from_inside(engine, ref, command, mark)
    except TimeoutError:
        return f"it had not ended {END_SECONDS:g} s after it was killed"
    except RuntimeFailed as error:
        return error.reason


async def _from_here(engine: Engine, command: str, mark: str) -> bool:
    """As this machine counts processes, where the engine's are among them and this user may signal them."""
    for _ in range(_ROUNDS):
        found = procfs.carrying(VARIABLE, mark)
        try:
            for process in found:
                procfs.kill(process)
        except PermissionError:
            return False
        if not found and await engine.has_ended(command):
            return True
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return False


async def _from_inside(engine: Engine, ref: str, command: str, mark: str) -> str:
    """By a shell of the image, as the user that the command runs as."""
    words = ["sh", "-c", _SCRIPT, f"{VARIABLE}={mark}"]
    try:
        code = await engine.execute(ref, await engine.prepare(ref, words, {}), lambda said: None)
    except RuntimeFailed as error:
        return f"{_DENIED}, and no shell of the image could: {error.reason}"
    if code in _NOT_FOUND_CODES:
        return f"{_DENIED}, and its image has no shell and cat to do it with"
    if code != 0:
        return f"{_DENIED}, and a shell inside it could not"
    return ""
