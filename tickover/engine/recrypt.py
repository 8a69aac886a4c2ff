"""A stack's secrets, in state and config, under a new passphrase and salt.

Owns: the order of the two writes, and how an interrupted change is taken up again. Promises: after a crash
between the writes each of the two can still be opened with the old or the new passphrase, and the same
command finishes the change. Never: asks for a passphrase.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tickover.engine import yamlio
from tickover.engine.backend import FileBackend
from tickover.engine.files import write_atomic
from tickover.engine.project import Project
from tickover.engine.secrets import Keyring, PassphraseCrypter, new_crypter
from tickover.engine.stackconfig import Secure, StackConfig, load_stack_config, parse_stack_config
from tickover.errors import TickoverError


def change_passphrase(
    backend: FileBackend, project: Project, stack: str, passphrases: Sequence[str]
) -> tuple[int, bool]:
    """Put all secrets of stack under the last of passphrases; each of them may open what is there. The
    caller holds the lock. Returns how many config values were encrypted anew, and if there is a state."""
    config = load_stack_config(project, stack)
    opened = _opening(config.salt, passphrases) if config.salt else None
    text, count = config.text, 0
    fresh = new_crypter(lambda: passphrases[-1])
    if opened is not None:
        text, count = _reencrypted(config, opened.for_salt(config.salt), fresh, project)
    elif any(True for _ in _secured(config.values)):
        raise TickoverError(
            "no-salt", "Encrypted config without salt", f"{config.path.name} names no salt of its secrets."
        )
    elif config.exists:
        text, _ = yamlio.edited(config.text, "", "encryptionsalt", fresh.salt_text)
    with_state = _state(backend, project, stack, passphrases, fresh)
    if config.exists:
        write_atomic(config.path, text.encode("utf-8"), mode=0o644)
    return count, with_state


def _state(
    backend: FileBackend,
    project: Project,
    stack: str,
    passphrases: Sequence[str],
    fresh: PassphraseCrypter,
) -> bool:
    if not backend.exists(project.name, stack):
        return False
    new = Keyring(lambda: passphrases[-1], fresh.salt_text)
    provider = backend.secrets_provider(project.name, stack)
    old = new
    if provider is not None:
        new.for_provider(provider)  # refuses another kind of provider
        old = _opening(str(provider.state["salt"]), passphrases)
    deployment = backend.load(project.name, stack, old).deployment
    backend.save(project.name, stack, replace(deployment, secrets_provider=fresh.provider), new)
    return True


def _opening(salt: str, passphrases: Sequence[str]) -> Keyring:
    """A keyring of the passphrase that belongs to salt."""
    for index, passphrase in enumerate(passphrases):
        keyring = Keyring(lambda text=passphrase: text)  # type: ignore[misc]
        try:
            keyring.for_salt(salt).unlock()
        except TickoverError as error:
            if error.code != "wrong-passphrase" or index == len(passphrases) - 1:
                raise
        else:
            return keyring
    raise AssertionError("no passphrase was given")


def _reencrypted(
    config: StackConfig, old: PassphraseCrypter, new: PassphraseCrypter, project: Project
) -> tuple[str, int]:
    """The file's text with other ciphertexts and salt, all else as it is; and how many there were."""
    text, count = config.text.replace(config.salt, new.salt_text), 0
    expected = [old.decrypt(item.ciphertext) for item in _secured(config.values)]
    for item in _secured(config.values):
        text = text.replace(item.ciphertext, new.encrypt(old.decrypt(item.ciphertext)))
        count += 1
    made = parse_stack_config(text, config.path, project.name)
    if made.salt != new.salt_text or [new.decrypt(i.ciphertext) for i in _secured(made.values)] != expected:
        raise TickoverError(
            "bad-config",
            "Config cannot be encrypted anew",
            f"The ciphertexts in {config.path.name} are not written on one line each; nothing was changed.",
            address=config.path.name,
        )
    return text, count


def _secured(value: Any) -> Iterator[Secure]:
    match value:
        case Secure():
            yield value
        case dict():
            for item in value.values():
                yield from _secured(item)
        case list():
            for item in value:
                yield from _secured(item)
