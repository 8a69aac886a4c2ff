"""What a load makes of a journal that lies beside a state.

Owns: the cases: nothing to recover, an interrupted operation, one still running, a state that moved on
without its journal. Promises: a journal is brought in only onto the very state that it continues. Never:
writes or removes files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tickover.engine import journal as journals
from tickover.engine.integrity import verify
from tickover.engine.locks import Holder
from tickover.engine.secrets import Keyring
from tickover.engine.state import Deployment


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a stack remembers. digest: of the checkpoint file, empty if there is none.

    recovered: a journal of an interrupted operation was brought in; notices tell of it.
    """

    deployment: Deployment
    exists: bool = False
    digest: str = ""
    recovered: bool = False
    notices: tuple[str, ...] = ()


def recover(
    loaded: Loaded, data: bytes, place: str, stack: str, keyring: Keyring, running: Sequence[Holder] = ()
) -> Loaded:
    """loaded, with the journal of this content brought in if it continues that state. place: where it lies.
    running: who holds the stack now, other than this process."""
    entries = journals.parse(data)
    if not journals.has_steps(entries) or loaded.digest in journals.committed_digests(entries):
        return loaded
    if journals.base_digest(entries) != loaded.digest:
        if running:
            return loaded
        notice = (
            f"An operation on {stack} was interrupted, and the state changed since by other means. "
            f"What it had done is in {place}; run `tickover refresh -s {stack}` and compare."
        )
        return replace(loaded, notices=(notice,))
    replayed = journals.replay(loaded.deployment, entries, keyring.for_provider)
    verify(replayed.deployment, f"the journal of {stack}")
    notice = _running(stack, running) if running else _interrupted(stack, replayed)
    return replace(loaded, deployment=replayed.deployment, recovered=True, notices=(notice,))


def _running(stack: str, running: Sequence[Holder]) -> str:
    who = ", ".join(str(holder) for holder in running)
    return f"An operation is running on {stack}: {who}. Its finished steps are taken into account."


def _interrupted(stack: str, replayed: journals.Replayed) -> str:
    notice = f"An operation on {stack} was interrupted; {replayed.steps} finished steps were recovered."
    if replayed.interrupted:
        names = "".join(f"\n  {urn}" for urn in replayed.interrupted)
        notice += f" These calls had begun and may have had an effect:{names}"
    return notice
