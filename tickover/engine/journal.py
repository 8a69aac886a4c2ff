"""What an operation did since the last checkpoint, one durable line a step.

Owns: the journal file beside the checkpoint (a name the Pulumi CLI ignores). Promises: when `begin` or
`done` returns, the line is on disk; a journal cut at any byte replays to a sound deployment whose pending
operations are the calls that had begun; secrets are encrypted. Never: rewrites a line, calls a provider.

The first line names the checkpoint that the journal continues, by digest, so that a journal is never
replayed onto a state that another tool has moved on meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from tickover.engine.files import state_errors
from tickover.engine.plan import Op
from tickover.engine.secrets import Crypter
from tickover.engine.snapshot import PENDING_OF, Snapshot
from tickover.engine.state import Deployment, ResourceState, SecretsProvider
from tickover.engine.stateio import CrypterFor, resource_from_json, resource_to_json
from tickover.engine.statevalue import dumps
from tickover.errors import TickoverError

FORMAT: Final = 1


class Copy(Protocol):
    """Where a journal's lines also go, so that another machine can recover."""

    run: str

    def follow(self, path: Path, end: int, strictly: bool) -> None:
        """path is on disk up to end: take what is new. Called from another thread, by one at a time.
        strictly: raise TickoverError if that cannot be done now."""


class Journal:
    """The open journal of a running operation, and the snapshot that it describes."""

    def __init__(
        self,
        path: Path,
        base: Deployment,
        base_digest: str,
        crypter: Crypter,
        copy: Copy | None = None,
    ) -> None:
        self._path = path
        self._copy = copy
        self.base_digest = base_digest
        self._crypter = crypter
        self._snapshot = Snapshot(base)
        self._provider = base.secrets_provider
        self._tickets: dict[int, tuple[Op, ResourceState | None]] = {}
        self._next_ticket = 1
        self._written = 0
        self._end = 0
        self._durable = 0
        self._flush: asyncio.Task[None] | None = None
        with state_errors(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close()
        run = {} if copy is None else {"run": copy.run}
        self._append({"k": "base", "v": FORMAT, "digest": base_digest} | run)

    @property
    def snapshot(self) -> Snapshot:
        """The stack's state as of every step noted so far."""
        return self._snapshot

    def deployment(self) -> Deployment:
        """What to save at the end (or to show in between)."""
        return self._snapshot.deployment()

    async def begin(self, op: Op, resource: ResourceState, old: ResourceState | None = None) -> int:
        """Call before a provider call with an effect. resource: as it will be (a delete: as it is); old:
        the prior state, if any. Returns the ticket for `done` or `failed`."""
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        prior = old if old is not None or op not in _GOING else resource
        self._append({"k": "begin", "n": ticket, "op": op.value, "r": resource}, prior=prior)
        self._tickets[ticket] = (op, prior)
        self._snapshot.begin(ticket, op, resource)
        await self.sync()
        return ticket

    async def done(self, ticket: int, resource: ResourceState | None) -> None:
        """The call of ticket ended; resource: what the stack remembers now, None if nothing. A partly
        failed call is done too, with ``init_errors`` in resource."""
        op, old = self._tickets.pop(ticket)
        self._append({"k": "done", "n": ticket, "r": resource})
        self._snapshot.finish(op, resource, old, ticket)
        await self.sync()

    async def failed(self, ticket: int) -> None:
        """The call of ticket failed, and certainly had no effect."""
        self._tickets.pop(ticket)
        self._append({"k": "failed", "n": ticket})
        self._snapshot.abandon(ticket)
        await self.sync()

    def note(self, op: Op, resource: ResourceState | None, old: ResourceState | None = None) -> None:
        """A step without a provider call (same, component, discard …). On disk with the next `sync`."""
        self._append({"k": "note", "op": op.value, "r": resource}, prior=old)
        self._snapshot.finish(op, resource, old)

    def rename(self, old: str, new: str) -> None:
        """The resource of URN old goes on as new. On disk with the next `sync`."""
        self._append({"k": "rename", "old_urn": old, "new_urn": new})
        self._snapshot.rename(old, new)

    def commit(self, digest: str) -> None:
        """The checkpoint of this digest, about to be written, holds everything up to here."""
        self._append({"k": "commit", "digest": digest})
        self._sync_now()

    async def sync(self) -> None:
        """Returns when everything noted so far is on disk; callers at the same time share one fsync."""
        target = self._written
        while self._durable < target:
            if self._flush is None or self._flush.done():
                self._flush = asyncio.create_task(self._sync_in_thread())
            await asyncio.shield(self._flush)

    async def _sync_in_thread(self) -> None:
        covered = self._written
        await asyncio.to_thread(self._make_durable)
        self._durable = max(self._durable, covered)

    def _make_durable(self, strictly: bool = False) -> None:
        end = self._end
        with state_errors(self._path, "written"):
            os.fsync(self._file.fileno())
        if self._copy is not None:
            self._copy.follow(self._path, end, strictly)

    def _sync_now(self) -> None:
        self._make_durable(strictly=True)
        self._durable = self._written

    def close(self) -> None:
        """Closes the file; it stays, for `replay`. Removing it is the back end's, after a save."""
        if not self._file.closed:
            self._file.close()

    def _append(self, entry: dict[str, Any], prior: ResourceState | None = None) -> None:
        line = dict(entry)
        if isinstance(resource := line.get("r"), ResourceState):
            line["r"] = resource_to_json(resource, self._crypter)
        if prior is not None:
            line["old"] = {"urn": prior.urn, "id": prior.id, "delete": prior.delete}
        provider = self._crypter.provider
        if provider is not None and provider != self._provider:  # the first secret of this stack
            self._provider = provider
            self._write({"k": "secrets", "type": provider.type, "state": dict(provider.state)})
        self._write(line)

    def _write(self, line: Mapping[str, Any]) -> None:
        data = dumps(line).encode("utf-8", "replace") + b"\n"
        with state_errors(self._path, "written"):
            view = memoryview(data)
            try:
                while view:
                    view = view[self._file.write(view) :]
            except OSError:
                # A torn line would hide every line that follows it from `parse`.
                self._file.truncate(self._end)
                self._file.seek(self._end)
                raise
        self._end += len(data)
        self._written += 1


# Ops whose resource, as given to `begin`, is the one that goes.
_GOING: Final = frozenset({Op.DELETE, Op.DELETE_REPLACED, Op.DISCARD, Op.REMOVE_PENDING_REPLACE})


@dataclass(frozen=True, slots=True)
class Replayed:
    """deployment: the base and everything the journal says. steps: how many finished steps that were.

    interrupted: URNs of the calls that had begun and not ended.
    """

    deployment: Deployment
    steps: int
    interrupted: tuple[str, ...]


def parse(data: bytes) -> list[dict[str, Any]]:
    """The lines of a journal, as far as they are whole: a crash may tear the last one."""
    entries: list[dict[str, Any]] = []
    for raw in data.split(b"\n")[:-1]:
        try:
            entry = json.loads(raw)
        except ValueError:
            break
        if not isinstance(entry, dict) or "k" not in entry:
            break
        entries.append(entry)
    return entries


def commit_file(path: Path, digest: str) -> None:
    """`Journal.commit` for a journal that a crashed operation left: a torn last line is cut off first."""
    with state_errors(path, "written"), open(path, "r+b") as stream:
        whole = stream.read().rpartition(b"\n")[0]
        stream.truncate(len(whole) + 1 if whole else 0)
        stream.seek(0, os.SEEK_END)
        stream.write(dumps({"k": "commit", "digest": digest}).encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def base_digest(entries: list[dict[str, Any]]) -> str:
    """The digest of the checkpoint that the journal continues; empty if even the first line is torn."""
    head = entries[0] if entries else {}
    if head and (head.get("k") != "base" or head.get("v") != FORMAT):
        raise TickoverError(
            "bad-journal",
            "Journal is of another version",
            f"The stack's journal has format {head.get('v')!r}; this tickover reads {FORMAT}. "
            "Finish the operation with the version that began it.",
        )
    return str(head.get("digest", ""))


def run_of(entries: list[dict[str, Any]]) -> str:
    """Which run wrote the journal; empty where only one place keeps it."""
    return str(entries[0].get("run", "")) if entries else ""


def committed_digests(entries: list[dict[str, Any]]) -> frozenset[str]:
    """Digests of the checkpoints that already hold what the journal says."""
    return frozenset(str(e.get("digest")) for e in entries if e["k"] == "commit")


def has_steps(entries: list[dict[str, Any]]) -> bool:
    """True if the journal tells of a step that a provider call was made for."""
    return any(e["k"] == "begin" for e in entries)


def replay(base: Deployment, entries: list[dict[str, Any]], crypter_for: CrypterFor) -> Replayed:
    """base and then every step of the journal; calls without an end become pending operations."""
    snapshot = Snapshot(base)
    provider = base.secrets_provider
    crypter = crypter_for(provider)
    open_calls: dict[int, tuple[Op, ResourceState | None, str]] = {}
    steps = 0
    for entry in entries:
        resource = resource_from_json(entry["r"], crypter) if isinstance(entry.get("r"), dict) else None
        match entry["k"]:
            case "secrets":
                provider = SecretsProvider(entry["type"], entry["state"])
                crypter = crypter_for(provider)
            case "begin" if resource is not None:
                op = Op(entry["op"])
                open_calls[entry["n"]] = (op, _prior(entry), resource.urn)
                snapshot.begin(entry["n"], op, resource)
            case "done":
                op, old, _ = open_calls.pop(entry["n"])
                snapshot.finish(op, resource, old, entry["n"])
                steps += 1
            case "failed":
                open_calls.pop(entry["n"], None)
                snapshot.abandon(entry["n"])
            case "note":
                snapshot.finish(Op(entry["op"]), resource, _prior(entry))
                steps += 1
            case "rename":
                snapshot.rename(entry["old_urn"], entry["new_urn"])
            case _:
                continue
    deployment = replace(snapshot.deployment(), secrets_provider=provider)
    interrupted = tuple(sorted(urn for op, _, urn in open_calls.values() if op in PENDING_OF))
    return Replayed(deployment, steps, interrupted)


def _prior(entry: Mapping[str, Any]) -> ResourceState | None:
    """As much of the prior state as the effects need: which entry it was."""
    raw = entry.get("old")
    if not isinstance(raw, dict):
        return None
    return ResourceState(urn=raw["urn"], type="", custom=True, id=raw["id"], delete=bool(raw["delete"]))
