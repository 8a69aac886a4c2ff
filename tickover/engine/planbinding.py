"""What a saved plan was made from, and what has moved since.

Owns: the digests of config and program, the comparison of two bindings. Promises: a digest tells nothing of
a value (salted; the salt is a secret where the config has secrets); the same files give the same digest
wherever they lie. Never: reads state or config (the caller hands them in).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SALT_BYTES: Final = 16
_MARK_OF_VENV: Final = "pyvenv.cfg"
_FOREIGN_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_MANIFESTS: Final = frozenset(
    {"Pulumi.yaml", "Pulumi.yml", "pyproject.toml", "Pipfile", "Pipfile.lock", "poetry.lock", "uv.lock"}
)
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Binding:
    """state: digest of the stack's state; config: key to salted digest of its value; program: file
    (relative, with slashes) to sha256; providers: package to version; tool: version of tickover.

    state_time, state_by: when and by whom the state was last written, where known; only told, not compared.
    """

    project: str
    stack: str
    state: str
    config: Mapping[str, str] = field(default_factory=dict)
    config_salt: str = ""
    has_secret_config: bool = False
    program: Mapping[str, str] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)
    tool: str = ""
    state_time: str = ""
    state_by: str = ""

    def __repr__(self) -> str:  # the salt guards secrets
        return f"Binding({self.project}/{self.stack}, state {self.state[:12]}, tool {self.tool})"


def bind(
    project: str,
    stack: str,
    *,
    state: str,
    config: Mapping[str, str],
    secret_keys: Collection[str],
    program: Mapping[str, str],
    providers: Mapping[str, str],
    tool: str,
    salt: str = "",
    state_time: str = "",
    state_by: str = "",
) -> Binding:
    """The binding of now. config: full key to text, as the program gets it. program: see `program_files`.

    salt: that of the saved binding when the two are to be compared; else a new one is made.
    """
    salt = salt or os.urandom(SALT_BYTES).hex()
    return Binding(
        project=project,
        stack=stack,
        state=state,
        config={key: _salted(salt, key, config[key]) for key in sorted(config)},
        config_salt=salt,
        has_secret_config=bool(secret_keys),
        program=dict(program),
        providers=dict(sorted(providers.items())),
        tool=tool,
        state_time=state_time,
        state_by=state_by,
    )


def _salted(salt: str, key: str, value: str) -> str:
    return hmac.new(bytes.fromhex(salt), f"{key}\0{value}".encode(), hashlib.sha256).hexdigest()


def moved(saved: Binding, now: Binding) -> tuple[str, ...]:
    """Why the plan must be refused, a sentence part each; nothing if it may be applied. Names, no values."""
    if (saved.project, saved.stack) != (now.project, now.stack):
        return (f"it was made for {saved.project}/{saved.stack}, and this is {now.project}/{now.stack}",)
    reasons: list[str] = []
    if saved.state != now.state:
        told = f" at {now.state_time}" if now.state_time else ""
        told += f" by {now.state_by}" if now.state_by else ""
        reasons.append("the stack's state was changed since" + (f" (last{told})" if told else ""))
    reasons += _differences("config key", saved.config, now.config)
    reasons += _differences("program file", saved.program, now.program)
    for package in sorted({*saved.providers, *now.providers}):
        old, new = saved.providers.get(package, ""), now.providers.get(package, "")
        if old != new:
            reasons.append(f"provider {package} {old or 'without a version'} → {new or 'none'}")
    if saved.tool != now.tool:
        reasons.append(f"tickover {saved.tool or 'of no version'} → {now.tool or 'of no version'}")
    return tuple(reasons)


def _differences(noun: str, saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    found = [
        f"{noun} {key} {_verb(key, saved, now)}"
        for key in sorted({*saved, *now})
        if saved.get(key) != now.get(key)
    ]
    more = len(found) - _NAMED
    return found if more <= 1 else [*found[:_NAMED], f"{more} more {noun}s differ"]


def _verb(key: str, saved: Mapping[str, str], now: Mapping[str, str]) -> str:
    if key not in saved:
        return "was added"
    return "changed" if key in now else "was removed"


# --- the program ---------------------------------------------------------------------------------------


def program_files(root: Path, main: Path) -> dict[str, str]:
    """File to sha256 of what makes the program: every ``*.py`` below root and main, Pulumi.yaml, lock and
    requirements files. Virtual environments, caches and hidden folders are left out.

    Names are relative to root, or to main with ``main:`` before, where that lies elsewhere.
    """
    main_folder = main if main.is_dir() or not main.suffix else main.parent
    found = {name: _digest(path) for name, path in _files(root)}
    if not main_folder.is_relative_to(root):
        found |= {f"main:{name}": _digest(path) for name, path in _files(main_folder)}
    return dict(sorted(found.items()))


def program_digest(root: Path, main: Path) -> str:
    """One sha256 over `program_files`."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in program_files(root, main).items())
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(n for n in folders if not _is_foreign(here / n))
        is_top = here == root
        for name in sorted(names):
            if name.endswith(".py") or (is_top and _is_manifest(name)):
                yield (here / name).relative_to(root).as_posix(), here / name


def _is_foreign(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _FOREIGN_FOLDERS or (folder / _MARK_OF_VENV).exists()


def _is_manifest(name: str) -> bool:
    return name in _MANIFESTS or (name.startswith("requirements") and name.endswith((".txt", ".lock")))


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:  # a dangling link, say: as good as any content, as long as it stays so
        return f"unreadable: {error.strerror}"
