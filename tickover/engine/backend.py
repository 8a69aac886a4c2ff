"""The back end: stacks in a folder or a bucket, laid out as the Pulumi CLI does.

Owns: ``.pulumi/`` with stacks, history, backups, locks and our journals. Promises: a save is atomic,
durable, read back and verified; a failed one leaves the previous state, and so does one onto a state that
somebody else wrote meanwhile; a load brings in what a crashed operation had journalled. Never: two layouts
(the one without projects is refused), zstd, Pulumi's cloud service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import yaml

from tickover.engine import locks, stateio
from tickover.engine.backendurl import choose_url, store_of
from tickover.engine.history import UpdateRecord, parse_history, record_json
from tickover.engine.integrity import verify, violations
from tickover.engine.journal import Journal
from tickover.engine.locks import StackLock
from tickover.engine.project import Project
from tickover.engine.recovery import Loaded as Loaded
from tickover.engine.recovery import recover
from tickover.engine.secrets import Crypter, Keyring
from tickover.engine.state import Deployment, SecretsProvider
from tickover.engine.statevalue import rfc3339
from tickover.engine.stores import Store
from tickover.engine.stores.checkpoints import STACKS, Checkpoints, digest_of
from tickover.engine.stores.folder import FolderStore
from tickover.engine.stores.journals import FolderJournals, SharedJournals, StackJournals, spool_folder
from tickover.engine.stores.locking import StoreLocks
from tickover.errors import ConfigError, TickoverError

LAYOUT_VERSION: Final = 1
JOURNAL_SUFFIX: Final = ".tickover-journal"
_META: Final = ".pulumi/meta.yaml"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_TRUE: Final = frozenset({"1", "true", "t", "yes"})


@dataclass(frozen=True, slots=True)
class StackSummary:
    """resources None: the state file cannot be read."""

    project: str
    name: str
    updated: str = ""
    resources: int | None = None


def engine_version() -> str:
    """What a state says it was written by."""
    with suppress(metadata.PackageNotFoundError):
        return f"v{metadata.version('tickover')}+tickover"
    return "v0.0.0+tickover"


def open_backend(project: Project, env: Mapping[str, str]) -> FileBackend:
    """The back end that project and environment choose."""
    chosen = choose_url(project, env)
    store = store_of(chosen, project.root, env)
    if isinstance(store, FolderStore):
        return FileBackend(store.root, chosen.url, env)
    return FileBackend(spool_folder(store.place(""), env), chosen.url, env, store=store)


class FileBackend:
    """Stacks in one place. Reading needs no lock; whoever saves holds `lock`.

    root: the folder that holds ``.pulumi``; with a store, the folder on this machine for its journals.
    """

    def __init__(
        self,
        root: Path,
        url: str = "",
        env: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        store: Store | None = None,
    ) -> None:
        self.root = root
        self.url = url or f"file://{root}"
        self.store: Store = store or FolderStore(root, self.url)
        self._is_shared = store is not None
        flags = env or {}
        packed = flags.get("PULUMI_DIY_BACKEND_GZIP", "").lower() in _TRUE
        retained = flags.get("PULUMI_DIY_BACKEND_RETAIN_CHECKPOINTS", "").lower() in _TRUE
        self._backups = flags.get("PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS", "").lower() not in _TRUE
        self._clock = clock
        self._checkpoints = Checkpoints(self.store, packed, lambda: _nanoseconds(clock()) if retained else 0)

    def __repr__(self) -> str:
        return f"FileBackend({self.url})"

    # --- which stacks there are ------------------------------------------------------------------------

    def exists(self, project: str, stack: str) -> bool:
        """True if the stack has a state file."""
        return self._checkpoints.key(project, stack) is not None

    def list_stacks(self, project: str | None = None) -> tuple[StackSummary, ...]:
        """Every stack, or one project's, by name."""
        self._check_layout()
        parts = (key.split("/")[2:] for key in self.store.list(STACKS))
        found = {
            (pair[0], pair[1].removesuffix(".gz").removesuffix(".json"))
            for pair in parts
            if len(pair) == 2 and project in (None, pair[0])
            if pair[1].endswith((".json", ".json.gz")) and not pair[1].startswith(".")
        }
        return tuple(self._summary(*pair) for pair in sorted(found))

    def _summary(self, project: str, stack: str) -> StackSummary:
        try:
            document = json.loads(self.stored(project, stack) or b"{}")
            latest = document.get("checkpoint", {}).get("latest") or {}
            updated = str(latest.get("manifest", {}).get("time", ""))
            return StackSummary(project, stack, updated, len(latest.get("resources") or ()))
        except (TickoverError, ValueError, AttributeError):
            return StackSummary(project, stack)

    # --- reading -------------------------------------------------------------------------------------

    def load(self, project: str, stack: str, keyring: Keyring) -> Loaded:
        """The stack's deployment, verified, with the journal of an interrupted operation brought in."""
        self._check_layout()
        data = self.stored(project, stack)
        if data is None:
            digest, base = "", Deployment()
        else:
            digest = digest_of(data)
            base = stateio.deployment_from_checkpoint(data, keyring.for_provider)
            verify(base, f"the state of {stack}")
        loaded = Loaded(base, data is not None, digest)
        content, place = self._journals(project, stack).find(digest)
        if not content:
            return loaded
        running = locks.still_running(self.holders(project, stack))
        return recover(loaded, content, place, stack, keyring, running)

    def secrets_provider(self, project: str, stack: str) -> SecretsProvider | None:
        """The provider that the stored state names, read without any key."""
        data = self.stored(project, stack)
        document = json.loads(data) if data else {}
        raw = ((document.get("checkpoint") or {}).get("latest") or {}).get("secrets_providers") or {}
        return SecretsProvider(raw["type"], raw.get("state") or {}) if raw.get("type") else None

    # --- writing -------------------------------------------------------------------------------------

    def create(self, project: str, stack: str, provider: SecretsProvider | None = None) -> None:
        """An empty stack. Raises TickoverError if it exists, ConfigError for a name that cannot be."""
        check_name(stack)
        if self.exists(project, stack):
            raise TickoverError("stack-exists", "Stack exists already", f"{project} has a stack {stack}.")
        empty = Deployment(secrets_provider=provider)
        self.save(project, stack, empty, Keyring(lambda: ""))

    def save(
        self,
        project: str,
        stack: str,
        deployment: Deployment,
        keyring: Keyring,
        journal: Journal | None = None,
    ) -> Deployment:
        """Writes deployment as the stack's state and returns it as written (time, version, provider).

        journal: the open one of this operation; it is closed and removed once the state is safe. An
        unsound deployment is written all the same, so that nothing is forgotten, and then reported.
        """
        check_name(stack)
        self._ensure_layout()
        crypter = keyring.for_provider(deployment.secrets_provider)
        now = rfc3339(self._clock())
        stamped = replace(deployment, time=now, version=engine_version(), extra=_noted(deployment))
        data = stateio.checkpoint_bytes(stamped, stack, project, crypter)
        stamped = replace(stamped, secrets_provider=crypter.provider or stamped.secrets_provider)
        seen = self._checkpoints.before(project, stack, journal.base_digest if journal else None)
        lay = self._journals(project, stack)
        if journal is not None:
            journal.commit(digest_of(data))
            is_over = True
        else:
            is_over = lay.commit_leftover(lambda: seen.digest, digest_of(data))
        self._checkpoints.replace(project, stack, data, seen)
        if journal is not None:
            journal.close()
        if is_over:
            lay.clear()
        verify(deployment, f"the state of {stack}, which was saved; the one before is in its .bak")
        return stamped

    def remove(self, project: str, stack: str, force: bool = False) -> None:
        """Forgets a stack with its history and backups. Refused while it has resources, unless forced."""
        data = self.stored(project, stack)
        if data is None:
            raise TickoverError("stack-not-found", "Stack not found", f"{project} has no state of {stack}.")
        document = json.loads(data)
        resources = ((document.get("checkpoint") or {}).get("latest") or {}).get("resources") or ()
        if resources and not force:
            raise TickoverError(
                "stack-not-empty",
                "Stack has resources",
                f"{stack} still has {len(resources)} resources. Destroy them first:",
                address=stack,
                hint=f"tickover destroy -s {stack}",
            )
        names = [f"{stack}.json", f"{stack}.json.gz"]
        names += [f"{name}.bak" for name in names]
        names += [f"{name}.attrs" for name in names]  # what the CLI's storage library leaves beside a file
        for name in (*names, f"{stack}.pulumi-tags"):
            self.store.delete(f"{STACKS}/{project}/{name}")
        self._journals(project, stack).clear()
        for kind in ("history", "backups"):
            self.store.delete_all(f".pulumi/{kind}/{project}/{stack}")

    # --- history --------------------------------------------------------------------------------------

    def record_update(self, project: str, stack: str, record: UpdateRecord) -> None:
        """After an update: its history entry with a copy of the state, and a backup of the state."""
        data = self.stored(project, stack)
        if data is None:
            return
        stamp = _nanoseconds(self._clock())
        prefix = f".pulumi/history/{project}/{stack}/{stack}-{stamp}"
        self.store.write(f"{prefix}.history.json", record_json(record).encode("utf-8"))
        self.store.write(f"{prefix}.checkpoint.json", data)
        if self._backups:
            self.store.write(f".pulumi/backups/{project}/{stack}/{stack}.{stamp}.json", data)

    def history(self, project: str, stack: str) -> tuple[UpdateRecord, ...]:
        """Updates of the stack, the newest first."""
        keys = self.store.list(f".pulumi/history/{project}/{stack}")
        found = [key for key in reversed(keys) if key.endswith((".history.json", ".history.json.gz"))]
        blobs = ((key, self.store.read(key)) for key in found)
        return tuple(parse_history(key.rpartition("/")[2], blob.data) for key, blob in blobs if blob)

    # --- locks and journals ---------------------------------------------------------------------------

    def lock(self, project: str, stack: str, command: str) -> StackLock:
        """Takes the stack's lock (a context manager). Raises TickoverError ``stack-locked`` if held."""
        check_name(stack)
        self._ensure_layout()
        if self._is_shared:
            return StoreLocks(self.store, project, stack).acquire(command)
        return locks.acquire(self.root, project, stack, command)

    def holders(self, project: str, stack: str) -> tuple[locks.Holder, ...]:
        """Who holds the stack, as far as the locks say."""
        if self._is_shared:
            return StoreLocks(self.store, project, stack).holders()
        return locks.holders(self.root, project, stack)

    def cancel(self, project: str, stack: str) -> tuple[locks.Holder, ...]:
        """Breaks every lock on the stack; returns whose they were."""
        if self._is_shared:
            return StoreLocks(self.store, project, stack).break_all()
        return locks.break_locks(self.root, project, stack)

    def open_journal(self, project: str, stack: str, loaded: Loaded, keyring: Keyring) -> Journal:
        """A journal that continues the checkpoint loaded. A recovered state must be saved before."""
        if loaded.recovered:
            raise TickoverError(
                "journal-order",
                "Recovered state not saved",
                f"The recovered state of {stack} must be saved before a new journal begins. "
                "This is a bug in tickover.",
            )
        crypter: Crypter = keyring.for_provider(loaded.deployment.secrets_provider)
        lay = self._journals(project, stack)
        if loaded.notices:  # the state moved on without it: keep it for a person
            lay.set_aside(_nanoseconds(self._clock()))
        elif self._is_shared:
            lay.clear()
        return Journal(lay.path, loaded.deployment, loaded.digest, crypter, lay.copy())

    def forget_journal(self, project: str, stack: str) -> None:
        """What a crash left of a stack that is no more."""
        self._journals(project, stack).clear()

    def _journals(self, project: str, stack: str) -> StackJournals:
        if not self._is_shared:
            return FolderJournals(self.root / STACKS / project / f"{stack}{JOURNAL_SUFFIX}")
        spool = self.root / project / f"{stack}{JOURNAL_SUFFIX}"
        return SharedJournals(spool, self.store, f".pulumi/tickover/{project}/{stack}/journal")

    # --- files ---------------------------------------------------------------------------------------

    def stored(self, project: str, stack: str) -> bytes | None:
        """The checkpoint as it lies there, whatever it says; None where there is none."""
        return self._checkpoints.read(project, stack)

    def _check_layout(self) -> None:
        """Raises for the layout without projects, which the CLI can upgrade."""
        if (meta := self.store.read(_META)) is not None:
            document = yaml.safe_load(meta.data)
            version = document.get("version") if isinstance(document, dict) else None
        else:
            names = (key.split("/")[2:] for key in self.store.list(STACKS))
            legacy = any(len(parts) == 1 and ".json" in parts[0] for parts in names)
            version = 0 if legacy else LAYOUT_VERSION
        if version != LAYOUT_VERSION:
            raise ConfigError(
                "old-layout",
                "State layout not supported",
                f"{self.store.place('')} has a state layout of version {version}; tickover uses version 1.",
                hint="pulumi state upgrade",
            )

    def _ensure_layout(self) -> None:
        self._check_layout()
        if self.store.read(_META) is None:
            self.store.write(_META, b"version: 1\n")


def check_name(stack: str) -> None:
    """Raises ConfigError unless stack can be the name of one."""
    if not _NAME.fullmatch(stack) or stack in (".", ".."):
        raise ConfigError(
            "bad-stack-name",
            "Stack name not allowed",
            f"{stack!r}: letters, digits, dots, dashes and underscores, at most 100.",
            address=stack,
        )


def _noted(deployment: Deployment) -> dict[str, Any]:
    """`extra` with the mark that the CLI leaves on an unsound state, or without an old one."""
    extra = dict(deployment.extra)
    rest = {k: v for k, v in dict(extra.pop("metadata", {})).items() if k != "integrity_error"}
    if found := violations(deployment):
        rest["integrity_error"] = {"version": engine_version(), "command": "tickover", "error": str(found[0])}
    return extra | ({"metadata": rest} if rest else {})


def _nanoseconds(moment: datetime) -> int:
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + moment.microsecond * 1000
