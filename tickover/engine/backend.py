"""The file back end: stacks in a folder, laid out as the Pulumi CLI does.

Owns: ``.pulumi/`` with stacks, history, backups, locks and our journals. Promises: a save is atomic,
durable, read back and verified; a failed one leaves the previous state; a load brings in what a crashed
operation had journalled. Never: two layouts (the one without projects is refused), zstd, clouds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import yaml

from tickover.engine import journal as journals
from tickover.engine import locks, stateio
from tickover.engine.backendurl import choose_url, folder_of
from tickover.engine.files import keep_previous, remove, state_errors, write_atomic
from tickover.engine.history import UpdateRecord, history_files, read_history, record_json
from tickover.engine.integrity import verify, violations
from tickover.engine.journal import Journal
from tickover.engine.locks import StackLock
from tickover.engine.project import Project
from tickover.engine.recovery import Loaded as Loaded
from tickover.engine.recovery import recover
from tickover.engine.secrets import Crypter, Keyring
from tickover.engine.state import Deployment, SecretsProvider
from tickover.errors import ConfigError, TickoverError

LAYOUT_VERSION: Final = 1
JOURNAL_SUFFIX: Final = ".tickover-journal"
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
    return FileBackend(folder_of(chosen, project.root, env), chosen.url, env)


class FileBackend:
    """Stacks under one folder. Reading needs no lock; whoever saves holds `lock`."""

    def __init__(
        self,
        root: Path,
        url: str = "",
        env: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.root = root
        self.url = url or f"file://{root}"
        flags = env or {}
        self._gzip = flags.get("PULUMI_DIY_BACKEND_GZIP", "").lower() in _TRUE
        self._retain = flags.get("PULUMI_DIY_BACKEND_RETAIN_CHECKPOINTS", "").lower() in _TRUE
        self._backups = flags.get("PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS", "").lower() not in _TRUE
        self._clock = clock
        self._home = root / ".pulumi"

    def __repr__(self) -> str:
        return f"FileBackend({self.url})"

    # --- which stacks there are ------------------------------------------------------------------------

    def exists(self, project: str, stack: str) -> bool:
        """True if the stack has a state file."""
        return self._state_file(project, stack) is not None

    def list_stacks(self, project: str | None = None) -> tuple[StackSummary, ...]:
        """Every stack, or one project's, by name."""
        self._check_layout()
        folder = self._home / "stacks"
        with state_errors(folder, "read"):
            names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
            found = {
                (name, path.name.removesuffix(".gz").removesuffix(".json"))
                for name in names
                if project in (None, name)
                for path in (folder / name).iterdir()
                if path.name.endswith((".json", ".json.gz")) and not path.name.startswith(".")
            }
        return tuple(self._summary(*pair) for pair in sorted(found))

    def _summary(self, project: str, stack: str) -> StackSummary:
        try:
            document = json.loads(self._read(project, stack) or b"{}")
            latest = document.get("checkpoint", {}).get("latest") or {}
            updated = str(latest.get("manifest", {}).get("time", ""))
            return StackSummary(project, stack, updated, len(latest.get("resources") or ()))
        except (TickoverError, ValueError, AttributeError):
            return StackSummary(project, stack)

    # --- reading -------------------------------------------------------------------------------------

    def load(self, project: str, stack: str, keyring: Keyring) -> Loaded:
        """The stack's deployment, verified, with the journal of an interrupted operation brought in."""
        self._check_layout()
        data = self._read(project, stack)
        if data is None:
            digest, base = "", Deployment()
        else:
            digest = _digest(data)
            base = stateio.deployment_from_checkpoint(data, keyring.for_provider)
            verify(base, f"the state of {stack}")
        loaded = Loaded(base, data is not None, digest)
        running = locks.others_running(self.root, project, stack)
        return recover(loaded, self._journal_path(project, stack), stack, keyring, running)

    def secrets_provider(self, project: str, stack: str) -> SecretsProvider | None:
        """The provider that the stored state names, read without any key."""
        data = self._read(project, stack)
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
        now = _rfc3339(self._clock())
        stamped = replace(deployment, time=now, version=engine_version(), extra=_noted(deployment))
        data = stateio.checkpoint_bytes(stamped, stack, project, crypter)
        stamped = replace(stamped, secrets_provider=crypter.provider or stamped.secrets_provider)
        left_behind = self._journal_path(project, stack)
        if journal is not None:
            journal.commit(_digest(data))
        elif left_behind.exists():
            journals.commit_file(left_behind, _digest(data))
        self._replace_state(project, stack, data)
        self._end_journal(project, stack, journal)
        verify(deployment, f"the state of {stack}, which was saved; the one before is in its .bak")
        return stamped

    def _replace_state(self, project: str, stack: str, data: bytes) -> None:
        plain = self._home / "stacks" / project / f"{stack}.json"
        packed = plain.with_name(plain.name + ".gz")
        path, other = (packed, plain) if self._gzip else (plain, packed)
        content = gzip.compress(data, mtime=0) if self._gzip else data
        keep_previous(path, path.with_name(path.name + ".bak"))
        write_atomic(path, content)
        with state_errors(path, "read"):
            if path.read_bytes() != content:
                raise TickoverError(
                    "state-damaged",
                    "State was not stored faithfully",
                    f"{path} does not read back as it was written. The previous state is in {path}.bak.",
                    address=str(path),
                )
        if other.exists():  # the compression changed
            keep_previous(other, other.with_name(other.name + ".bak"))
            remove(other)
        if self._retain:
            write_atomic(path.with_name(f"{path.name}.{_nanoseconds(self._clock())}"), content)

    def _end_journal(self, project: str, stack: str, journal: Journal | None) -> None:
        if journal is not None:
            journal.close()
        remove(self._journal_path(project, stack))

    def remove(self, project: str, stack: str, force: bool = False) -> None:
        """Forgets a stack with its history and backups. Refused while it has resources, unless forced."""
        data = self._read(project, stack)
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
        folder = self._home / "stacks" / project
        names = [f"{stack}.json", f"{stack}.json.gz"]
        names += [f"{name}.bak" for name in names]
        names += [f"{name}.attrs" for name in names]  # what the CLI's storage library leaves beside a file
        for name in (*names, f"{stack}.pulumi-tags", f"{stack}{JOURNAL_SUFFIX}"):
            remove(folder / name)
        for kind in ("history", "backups"):
            where = self._home / kind / project / stack
            with state_errors(where, "removed"):
                if where.exists():
                    shutil.rmtree(where)

    # --- history --------------------------------------------------------------------------------------

    def record_update(self, project: str, stack: str, record: UpdateRecord) -> None:
        """After an update: its history entry with a copy of the state, and a backup of the state."""
        data = self._read(project, stack)
        if data is None:
            return
        stamp = _nanoseconds(self._clock())
        prefix = self._home / "history" / project / stack / f"{stack}-{stamp}"
        write_atomic(Path(f"{prefix}.history.json"), record_json(record).encode("utf-8"))
        write_atomic(Path(f"{prefix}.checkpoint.json"), data)
        if self._backups:
            write_atomic(self._home / "backups" / project / stack / f"{stack}.{stamp}.json", data)

    def history(self, project: str, stack: str) -> tuple[UpdateRecord, ...]:
        """Updates of the stack, the newest first."""
        folder = self._home / "history" / project / stack
        with state_errors(folder, "read"):
            return tuple(read_history(path) for path in history_files(folder))

    # --- locks and journals ---------------------------------------------------------------------------

    def lock(self, project: str, stack: str, command: str) -> StackLock:
        """Takes the stack's lock (a context manager). Raises TickoverError ``stack-locked`` if held."""
        check_name(stack)
        self._ensure_layout()
        return locks.acquire(self.root, project, stack, command)

    def holders(self, project: str, stack: str) -> tuple[locks.Holder, ...]:
        return locks.holders(self.root, project, stack)

    def cancel(self, project: str, stack: str) -> tuple[locks.Holder, ...]:
        """Breaks every lock on the stack; returns whose they were."""
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
        path = self._journal_path(project, stack)
        if loaded.notices and path.exists():  # the state moved on without it: keep it for a person
            path.replace(path.with_name(f"{path.name}.{_nanoseconds(self._clock())}"))
        return Journal(path, loaded.deployment, loaded.digest, crypter)

    def _journal_path(self, project: str, stack: str) -> Path:
        return self._home / "stacks" / project / f"{stack}{JOURNAL_SUFFIX}"

    # --- files ---------------------------------------------------------------------------------------

    def _state_file(self, project: str, stack: str) -> Path | None:
        plain = self._home / "stacks" / project / f"{stack}.json"
        found = [p for p in (plain, plain.with_name(plain.name + ".gz")) if p.is_file()]
        if not found and plain.with_name(plain.name + ".zst").is_file():
            raise TickoverError(
                "zstd-state",
                "State is compressed with zstd",
                f"{plain}.zst: tickover reads plain and gzip state.",
                hint="PULUMI_DIY_BACKEND_ZSTD=false pulumi stack export | pulumi stack import",
            )
        return max(found, key=lambda p: p.stat().st_mtime_ns, default=None)

    def _read(self, project: str, stack: str) -> bytes | None:
        path = self._state_file(project, stack)
        if path is None:
            return None
        with state_errors(path, "read"):
            data = path.read_bytes()
            return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data

    def _check_layout(self) -> None:
        """Raises for the layout without projects, which the CLI can upgrade."""
        meta = self._home / "meta.yaml"
        with state_errors(meta, "read"):
            if meta.is_file():
                document = yaml.safe_load(meta.read_text("utf-8"))
                version = document.get("version") if isinstance(document, dict) else None
            else:
                stacks = self._home / "stacks"
                legacy = stacks.is_dir() and any(stacks.glob("*.json*"))
                version = 0 if legacy else LAYOUT_VERSION
        if version != LAYOUT_VERSION:
            raise ConfigError(
                "old-layout",
                "State layout not supported",
                f"{self.root} has a state layout of version {version}; tickover uses version 1.",
                hint="pulumi state upgrade",
            )

    def _ensure_layout(self) -> None:
        self._check_layout()
        meta = self._home / "meta.yaml"
        if not meta.is_file():
            write_atomic(meta, b"version: 1\n")


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


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _nanoseconds(moment: datetime) -> int:
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + moment.microsecond * 1000
