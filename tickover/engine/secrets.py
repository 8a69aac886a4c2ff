"""Secrets of a stack under a passphrase, exactly as Pulumi's passphrase provider keeps them.

Owns: where the passphrase comes from, the key (PBKDF2-HMAC-SHA256, 1,000,000 rounds, 8-byte salt), the
text form ``v1:<b64 nonce>:<b64 ciphertext and tag>`` (AES-256-GCM). Promises: no key and no passphrase in
a log, an error or a repr; keys live in this process only, each derived once and only when first needed.
Never: decides which values are secret.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import os
import secrets as randomness
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tickover.engine.state import SecretsProvider
from tickover.errors import Exit, TickoverError

PASSPHRASE_TYPE: Final = "passphrase"
PASSPHRASE_FILE: Final = "passphrase"
_ROUNDS: Final = 1_000_000
_SALT_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_VERIFICATION_WORD: Final = "pulumi"
_ENV: Final = "PULUMI_CONFIG_PASSPHRASE"
_ENV_FILE: Final = "PULUMI_CONFIG_PASSPHRASE_FILE"


class Crypter(Protocol):
    """Turns texts into ciphertexts and back."""

    def encrypt(self, plaintext: str) -> str: ...
    def decrypt(self, ciphertext: str) -> str: ...
    @property
    def provider(self) -> SecretsProvider | None:
        """What a state must say so that its secrets can be opened again; None if nothing needs to be."""


class PlainCrypter:
    """Leaves texts as they are: for what already lies inside an encrypted value."""

    provider: SecretsProvider | None = None

    def encrypt(self, plaintext: str) -> str:
        return plaintext

    def decrypt(self, ciphertext: str) -> str:
        return ciphertext


class Passphrase(str):
    """A passphrase that knows where it came from and does not show itself."""

    __slots__ = ("source",)
    source: str

    def __new__(cls, text: str, source: str) -> Passphrase:
        made = super().__new__(cls, text)
        made.source = source
        return made

    def __repr__(self) -> str:
        return f"Passphrase([secret] from {self.source})"


# --- where it comes from ----------------------------------------------------------------------------


def resolve_passphrase(
    env: Mapping[str, str], home: Path, *, stack_has_salt: bool = True
) -> tuple[Passphrase, str]:
    """The passphrase and its source: PULUMI_CONFIG_PASSPHRASE (may be empty), PULUMI_CONFIG_PASSPHRASE_FILE,
    or the data home's file, which is made (0600, random) for a stack that has no salt yet. Exit 3 if none."""
    found = _find(env, home)
    if found is None:
        if stack_has_salt:
            raise _missing(home)
        found = _generate(home / PASSPHRASE_FILE)
    return found, found.source


def passphrase_resolver(
    env: Mapping[str, str], home: Path, stack_has_salt: Callable[[], bool]
) -> Callable[[], Passphrase]:
    """`resolve_passphrase` for later; stack_has_salt is asked only if no passphrase is there."""

    @functools.cache
    def resolve() -> Passphrase:
        found = _find(env, home)
        return (
            found if found is not None else resolve_passphrase(env, home, stack_has_salt=stack_has_salt())[0]
        )

    return resolve


def _find(env: Mapping[str, str], home: Path) -> Passphrase | None:
    given = _from_env(env)  # an empty one counts
    return given if given is not None else _from_home(home)


def _from_env(env: Mapping[str, str]) -> Passphrase | None:
    if (text := env.get(_ENV)) is not None:
        return Passphrase(text, f"the environment variable {_ENV}")
    if not (name := env.get(_ENV_FILE)):
        return None
    try:
        return Passphrase(
            Path(name).expanduser().read_text("utf-8").strip(), f"the file {name} ({_ENV_FILE})"
        )
    except (OSError, UnicodeDecodeError) as error:
        raise TickoverError(
            "no-passphrase",
            "Passphrase file cannot be read",
            f"{_ENV_FILE} names {name}: {error}.",
            exit_code=Exit.AUTHENTICATION,
        ) from error
    return Passphrase(text, f"the file {name} ({_ENV_FILE})")


def _from_home(home: Path) -> Passphrase | None:
    path = home / PASSPHRASE_FILE
    try:
        return Passphrase(path.read_text("utf-8").strip(), f"the file {path}")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise TickoverError(
            "no-passphrase",
            "Passphrase file cannot be read",
            f"{path}: {error}.",
            exit_code=Exit.AUTHENTICATION,
        ) from error


def _generate(path: Path) -> Passphrase:
    """A new random passphrase in path; if another process was first, the one it made."""
    text = randomness.token_urlsafe(24)  # 32 characters
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return Passphrase(path.read_text("utf-8").strip(), f"the file {path}")
    except OSError as error:
        raise TickoverError(
            "no-passphrase",
            "Passphrase cannot be stored",
            f"A new stack needs a passphrase for its secrets, and {path} cannot be written: {error}.",
            hint=f"export {_ENV}=…",
            exit_code=Exit.AUTHENTICATION,
        ) from error
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return Passphrase(text, f"the file {path}")


def _missing(home: Path) -> TickoverError:
    return TickoverError(
        "no-passphrase",
        "Passphrase is missing",
        "The stack's secrets are under a passphrase. Give it in the environment variable "
        f"{_ENV}, in a file that {_ENV_FILE} names, or in {home / PASSPHRASE_FILE}.",
        hint=f"export {_ENV}=…",
        exit_code=Exit.AUTHENTICATION,
    )


# --- the cipher ----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _derive(passphrase: str, salt: bytes) -> AESGCM:
    return AESGCM(hashlib.pbkdf2_hmac("sha256", passphrase.encode("utf-8"), salt, _ROUNDS, _KEY_BYTES))


def _seal(key: AESGCM, plaintext: str) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    sealed = key.encrypt(nonce, plaintext.encode("utf-8"), None)
    return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"


def _open(key: AESGCM, ciphertext: str) -> str:
    """Raises ValueError for a text of another form, InvalidTag for another key or a changed text."""
    parts = ciphertext.split(":")
    if len(parts) != 3 or parts[0] != "v1":
        raise ValueError("it is not of the form v1:<nonce>:<ciphertext>")
    nonce, sealed = (base64.b64decode(part, validate=True) for part in parts[1:])
    return key.decrypt(nonce, sealed, None).decode("utf-8")


class PassphraseCrypter:
    """The crypter of one salt. The key is derived, and the passphrase asked for, at first use."""

    def __init__(self, salt_text: str, passphrase: Callable[[], str]) -> None:
        """salt_text: ``v1:<b64 salt>:<verification>`` as in state and in Pulumi.<stack>.yaml."""
        self.salt_text = salt_text
        self._passphrase = passphrase
        self._key: AESGCM | None = None

    def __repr__(self) -> str:
        return "PassphraseCrypter()"

    @property
    def provider(self) -> SecretsProvider:
        """What the state says about this crypter."""
        return SecretsProvider(PASSPHRASE_TYPE, {"salt": self.salt_text})

    def encrypt(self, plaintext: str) -> str:
        return _seal(self.unlock(), plaintext)

    def decrypt(self, ciphertext: str) -> str:
        """The text. Raises TickoverError if it was not made with this key."""
        try:
            return _open(self.unlock(), ciphertext)
        except (ValueError, InvalidTag) as error:
            raise TickoverError(
                "bad-secret",
                "Secret cannot be decrypted",
                "A stored secret was encrypted under another salt or was changed since.",
                exit_code=Exit.AUTHENTICATION,
            ) from error

    def unlock(self) -> AESGCM:
        """Derives and verifies the key now (about a second the first time). Exit 3 if it does not fit."""
        if self._key is None:
            version, _, rest = self.salt_text.partition(":")
            salt_b64, _, verification = rest.partition(":")
            passphrase = self._passphrase()
            try:
                if version != "v1":
                    raise ValueError("unknown version")
                key = _derive(str(passphrase), base64.b64decode(salt_b64, validate=True))
                verified = _open(key, verification) == _VERIFICATION_WORD
            except InvalidTag:
                verified = False
            except (ValueError, binascii.Error) as error:
                raise TickoverError(
                    "bad-salt",
                    "Encryption salt is not valid",
                    f"The stack's encryption salt cannot be read: {error}.",
                    exit_code=Exit.AUTHENTICATION,
                ) from error
            if not verified:
                raise _wrong(passphrase)
            self._key = key
        return self._key


def _wrong(passphrase: str) -> TickoverError:
    source = passphrase.source if isinstance(passphrase, Passphrase) else "the caller"
    return TickoverError(
        "wrong-passphrase",
        "Wrong passphrase",
        f"The passphrase from {source} does not open this stack's secrets. "
        f"Set {_ENV} or {_ENV_FILE} to the one the stack was made with.",
        exit_code=Exit.AUTHENTICATION,
    )


def new_crypter(passphrase: Callable[[], str]) -> PassphraseCrypter:
    """A crypter with a fresh salt. Asks for the passphrase now."""
    salt = os.urandom(_SALT_BYTES)
    text = passphrase()
    verification = _seal(_derive(str(text), salt), _VERIFICATION_WORD)
    return PassphraseCrypter(f"v1:{base64.b64encode(salt).decode()}:{verification}", lambda: text)


class Keyring:
    """The crypters of one passphrase, by salt: config and state of a stack may have different salts."""

    def __init__(self, passphrase: Callable[[], str], preferred_salt: str = "") -> None:
        """preferred_salt: the one to use for a state that has none yet, as the stack's config has it."""
        self._passphrase = passphrase
        self._preferred = preferred_salt
        self._crypters: dict[str, PassphraseCrypter] = {}

    def __repr__(self) -> str:
        return f"Keyring({len(self._crypters)} salts)"

    def for_salt(self, salt_text: str) -> PassphraseCrypter:
        """The crypter of a salt as found in state or config."""
        if salt_text not in self._crypters:
            self._crypters[salt_text] = PassphraseCrypter(salt_text, self._passphrase)
        return self._crypters[salt_text]

    def for_provider(self, provider: SecretsProvider | None) -> Crypter:
        """The crypter of a deployment; for None one that makes its salt when first used.

        Only the passphrase provider is known.
        """
        if provider is None:
            return LateCrypter(self)
        salt = provider.state.get("salt") if provider.type == PASSPHRASE_TYPE else None
        if not isinstance(salt, str):
            raise TickoverError(
                "secrets-provider",
                "Secrets provider not supported",
                f"The stack's secrets are kept by {provider.type!r}; tickover knows only passphrases.",
                hint="pulumi stack change-secrets-provider passphrase",
                exit_code=Exit.AUTHENTICATION,
            )
        return self.for_salt(salt)

    def default(self) -> PassphraseCrypter:
        """The crypter for what has no salt yet: the preferred salt's, else one new salt a keyring."""
        if not self._preferred:
            made = new_crypter(self._passphrase)
            self._preferred = made.salt_text
            self._crypters[made.salt_text] = made
        return self.for_salt(self._preferred)


class LateCrypter:
    """The crypter of a state without secrets: asks for a passphrase only if a secret turns up."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._made: PassphraseCrypter | None = None

    @property
    def provider(self) -> SecretsProvider | None:
        return self._made.provider if self._made else None

    def encrypt(self, plaintext: str) -> str:
        if self._made is None:
            self._made = self._keyring.default()
        return self._made.encrypt(plaintext)

    def decrypt(self, ciphertext: str) -> str:
        raise TickoverError(
            "bad-state",
            "State cannot be read",
            "The deployment has encrypted values, but names no secrets provider.",
        )
