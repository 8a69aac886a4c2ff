"""Pulumi.<stack>.yaml: a stack's values, its secrets, and which stacks a project has.

Owns: reading, checking and editing the file, and its translation for the program. Promises: all mistakes
at once with key path and line; nothing is decrypted before it is needed; an edit keeps the rest of the
file. Never: the resources' state (see `backend`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

from tickover.engine import yamlio
from tickover.engine.backend import FileBackend
from tickover.engine.configpath import get_at, parse_path, removed_at, set_at
from tickover.engine.configschema import (
    ConfigMistake,
    Mistakes,
    check,
    nearest,
    qualify_key,
    with_defaults,
)
from tickover.engine.files import write_atomic
from tickover.engine.project import Project
from tickover.engine.secrets import Keyring, passphrase_resolver
from tickover.engine.statevalue import dumps
from tickover.engine.values import UNKNOWN, Secret, contains_secret, reveal
from tickover.errors import ConfigError, Exit, TickoverError

_SALT: Final = "encryptionsalt"


@dataclass(frozen=True, slots=True)
class Secure:
    """An encrypted text as it stands in the file."""

    ciphertext: str


@dataclass(frozen=True, slots=True)
class StackConfig:
    """values: full key (``tickover:services``) to value, `Secure` where encrypted. path may not exist.

    lines: key path below ``config:`` to line of the file.
    """

    path: Path
    text: str = ""
    exists: bool = False
    salt: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    mistakes: tuple[ConfigMistake, ...] = ()


# --- reading -----------------------------------------------------------------------------------------


def config_path(project: Project, stack: str) -> Path:
    """Where the stack's file is, or would be."""
    return project.stack_config_dir / f"Pulumi.{stack}.yaml"


def load_stack_config(project: Project, stack: str) -> StackConfig:
    """The stack's file; an empty config if there is none. Raises ConfigError for what is no YAML."""
    path = config_path(project, stack)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return StackConfig(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    return parse_stack_config(text, path, project.name)


def parse_stack_config(text: str, path: Path, project: str) -> StackConfig:
    """The config in the text of a stack's file."""
    try:
        document = yamlio.parse(text)
    except yaml.YAMLError as error:
        raise _unreadable(path, " ".join(str(error).split())) from error
    body = document.value if document.value is not None else {}
    block = body.get("config") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(block if block is not None else {}, dict):
        raise _unreadable(path, "it must be a map, and `config` in it too")
    keyed = {qualify_key(str(k), project): _secured(v) for k, v in (block or {}).items()}
    lines = {
        qualify_key(path_.removeprefix("config."), project): line
        for path_, line in document.lines.items()
        if path_.startswith("config.")
    }
    mistakes = tuple(
        ConfigMistake(
            path_.removeprefix("config."), "This key is given twice.", line=document.lines.get(path_, 0)
        )
        for path_ in document.duplicates
    )
    return StackConfig(path, text, True, str(body.get(_SALT) or ""), keyed, lines, mistakes)


def _secured(value: Any) -> Any:
    """value with `Secure` for every ``{secure: ciphertext}``."""
    match value:
        case {"secure": str() as ciphertext} if len(value) == 1:
            return Secure(ciphertext)
        case dict():
            return {str(k): _secured(v) for k, v in value.items()}
        case list():
            return [_secured(v) for v in value]
        case _:
            return value


def _mapped(value: Any, secure: Callable[[Secure], Any]) -> Any:
    match value:
        case Secure():
            return secure(value)
        case dict():
            return {k: _mapped(v, secure) for k, v in value.items()}
        case list():
            return [_mapped(v, secure) for v in value]
        case _:
            return value


def decrypted(config: StackConfig, keyring: Keyring) -> dict[str, Any]:
    """The values with `Secret` for what is encrypted. Asks for the passphrase only if something is."""

    def opened(item: Secure) -> Secret:
        if not config.salt:
            raise ConfigError(
                "no-salt",
                "Encrypted config without salt",
                f"{config.path.name} has encrypted values, but no `{_SALT}`.",
                address=config.path.name,
            )
        return Secret(keyring.for_salt(config.salt).decrypt(item.ciphertext))

    return {k: _mapped(v, opened) for k, v in config.values.items()}


# --- checking and handing over ---------------------------------------------------------------------------


def check_config(project: Project, config: StackConfig) -> None:
    """Raises ConfigError (exit 2) with everything that is wrong with the stack's values."""
    values = {k: _mapped(v, lambda _: Secret(UNKNOWN)) for k, v in config.values.items()}
    found = (*config.mistakes, *check(values, project.config, project.name, config.lines))
    if found:
        raise Mistakes(_shown(config.path, project), tuple(sorted(found, key=lambda m: m.path))).as_error()


def config_for_program(
    project: Project, config: StackConfig, keyring: Keyring
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What the program gets: full key to text (JSON for objects), project defaults included; and the keys
    that are secret. Checks first."""
    check_config(project, config)
    values = with_defaults(decrypted(config, keyring), project.config)
    secret_keys = tuple(sorted(k for k, v in values.items() if contains_secret(v)))
    return {k: as_text(reveal(values[k])) for k in sorted(values)}, secret_keys


def as_text(value: Any) -> str:
    """A config value as the program reads it."""
    match value:
        case str():
            return value
        case None:
            return ""
        case _:
            return dumps(value)


# --- which stacks there are ------------------------------------------------------------------------------


def known_stacks(project: Project, backend: FileBackend) -> tuple[str, ...]:
    """Stacks that have a config file or a state."""
    folder = project.stack_config_dir
    files = folder.glob("Pulumi.*.yaml") if folder.is_dir() else ()
    named = {p.name.removeprefix("Pulumi.").removesuffix(".yaml") for p in files}
    return tuple(sorted(named | {s.name for s in backend.list_stacks(project.name)}))


def require_stack(project: Project, backend: FileBackend, stack: str) -> None:
    """Raises TickoverError (exit 6) unless the stack has a config file or a state."""
    if config_path(project, stack).is_file() or backend.exists(project.name, stack):
        return
    known = known_stacks(project, backend)
    near = nearest(stack, known)
    listing = f"It has {', '.join(known)}." if known else "It has no stacks yet."
    suggestion = f" Did you mean `{near}`?" if near else ""
    raise TickoverError(
        "stack-not-found",
        "Stack not found",
        f"{project.name} has no stack {stack!r}.{suggestion} {listing}",
        address=stack,
        hint=f"tickover stack init {stack}" if not near else "",
        exit_code=Exit.STACK_NOT_FOUND,
    )


def passphrase_for(
    project: Project, stack: str, backend: FileBackend, env: Mapping[str, str], home: Path
) -> Callable[[], str]:
    """The passphrase of a stack, looked for when first called (see `secrets.resolve_passphrase`)."""

    def has_salt() -> bool:
        in_state = backend.secrets_provider(project.name, stack) is not None
        return in_state or bool(load_stack_config(project, stack).salt)

    return passphrase_resolver(env, home, has_salt)


# --- editing -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edit:
    """config: as it is now. comments_kept False: the file was written anew and lost its comments."""

    config: StackConfig
    comments_kept: bool = True


def set_value(
    project: Project,
    config: StackConfig,
    key: str,
    value: str,
    keyring: Keyring,
    *,
    secret: bool = False,
    as_path: bool = False,
) -> Edit:
    """``config set``. as_path: key goes on into an object (``services.chat.pool.instances``), and numbers
    and booleans are stored as such, as the CLI does."""
    kept = True
    if secret:
        crypter = keyring.for_salt(config.salt) if config.salt else keyring.default()
        leaf: Any = {"secure": crypter.encrypt(value)}
        if not config.salt:
            text, kept = yamlio.edited(config.text, "", _SALT, crypter.salt_text)
            config = replace(config, text=text, salt=crypter.salt_text)
    else:
        leaf = _typed(value) if as_path else value
    full, steps = _split(project, key, as_path)
    raw = _raw(config, full)
    return _written(project, config, full, set_at(raw, steps, leaf) if steps else leaf, kept)


def remove_value(project: Project, config: StackConfig, key: str, *, as_path: bool = False) -> Edit:
    """``config rm``. Raises ConfigError if there is no such value."""
    full, steps = _split(project, key, as_path)
    if full not in config.values:
        raise _no_value(config, key)
    if not steps:
        return _written(project, config, full, None, True, remove=True)
    try:
        rest = removed_at(_raw(config, full), steps)
    except LookupError as error:
        raise _no_value(config, key) from error
    return _written(project, config, full, rest, True)


def get_value(
    project: Project, config: StackConfig, key: str, keyring: Keyring, *, as_path: bool = False
) -> Any:
    """``config get``: the value, `Secret` where it is one, the project's default if the stack has none."""
    full, steps = _split(project, key, as_path)
    wanted = replace(config, values={k: v for k, v in config.values.items() if k == full})
    values = with_defaults(decrypted(wanted, keyring), project.config)
    try:
        return get_at(values[full], steps)
    except LookupError as error:
        raise _no_value(config, key) from error


def _split(project: Project, key: str, as_path: bool) -> tuple[str, tuple[str | int, ...]]:
    """The full key, and the steps below it."""
    if not as_path:
        return qualify_key(key, project.name), ()
    namespace, separator, rest = key.partition(":")
    steps = parse_path(rest if separator else key)
    prefix = f"{namespace}:" if separator else ""
    return qualify_key(f"{prefix}{steps[0]}", project.name), steps[1:]


def _typed(value: str) -> Any:
    if value in ("true", "false"):
        return value == "true"
    if value.lstrip("-").isdigit() and str(int(value)) == value:
        return int(value)
    return value


def _raw(config: StackConfig, full: str) -> Any:
    return _mapped(config.values.get(full), lambda item: {"secure": item.ciphertext})


def _written(
    project: Project, config: StackConfig, full: str, value: Any, kept: bool, *, remove: bool = False
) -> Edit:
    arguments = () if remove else (value,)
    text, still_kept = yamlio.edited(config.text, "config", _as_in_file(config, full), *arguments)
    write_atomic(config.path, text.encode("utf-8"), mode=0o644)
    return Edit(parse_stack_config(text, config.path, project.name), kept and still_kept)


def _as_in_file(config: StackConfig, full: str) -> str:
    """The key as the file spells it (``name`` for ``project:name`` is allowed there)."""
    block = (yamlio.parse(config.text).value or {}).get("config") or {}
    short = full.partition(":")[2]
    return short if short in block and full not in block else full


def _no_value(config: StackConfig, key: str) -> ConfigError:
    near = nearest(key, config.values)
    suggestion = f" Did you mean `{near}`?" if near else ""
    return ConfigError(
        "no-config-value",
        "No such config value",
        f"{config.path.name} has no {key}.{suggestion}",
        address=key,
    )


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError("bad-config", "Stack config cannot be read", f"{path.name}: {why}.", address=path.name)


def _shown(path: Path, project: Project) -> str:
    return str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path)
