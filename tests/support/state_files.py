"""A stack's state read from the file itself: quicker than asking an engine, which derives the key each time.

Owns: the reading of a checkpoint and the opening of its secrets, from Pulumi's description of both and with
none of our own code. Promises: the form of `stack export --show-secrets`; None where the file alone does not
tell (a journal lies beside it, secrets lie in secrets). Never: writes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_ROUNDS: Final = 1_000_000


class _Nested(Exception):
    """The file alone does not tell how an engine spells it."""


def exported(file: Path, passphrase: str) -> dict[str, Any] | None:
    """The stack in file, secrets in clear."""
    if list(file.parent.glob(f"{file.stem}*journal*")):
        return None
    stored = json.loads(file.read_bytes())
    deployment = stored["checkpoint"].get("latest")
    if not deployment:
        return None
    provider = deployment.get("secrets_providers") or {}
    salt = (provider.get("state") or {}).get("salt", "")
    try:
        opened = _opened(deployment, passphrase, salt)
    except _Nested:
        return None
    for resource in opened.get("resources") or ():
        trigger = resource.get("replacementTrigger")
        if isinstance(trigger, dict) and trigger.get(_SIGNATURE) == _SECRET:
            trigger["plaintext"] = "null"  # the CLI reads no more of it than that there is one
    head = {key: stored[key] for key in ("version", "features") if key in stored}
    return {**head, "deployment": opened}


def _opened(value: Any, passphrase: str, salt: str) -> Any:
    if isinstance(value, list):
        return [_opened(item, passphrase, salt) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get(_SIGNATURE) == _SECRET and "ciphertext" in value:
        return {_SIGNATURE: _SECRET, "plaintext": _decrypted(value["ciphertext"], passphrase, salt)}
    return {key: _opened(item, passphrase, salt) for key, item in value.items()}


def _decrypted(ciphertext: str, passphrase: str, salt: str) -> str:
    _, nonce, sealed = ciphertext.split(":")
    key = _key(passphrase, salt.split(":")[1])
    text = key.decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None).decode()
    if _SIGNATURE in text:
        raise _Nested  # a secret inside a secret: the engines write that anew when they export it
    return text


@lru_cache(maxsize=64)
def _key(passphrase: str, salt: str) -> AESGCM:
    return AESGCM(hashlib.pbkdf2_hmac("sha256", passphrase.encode(), base64.b64decode(salt), _ROUNDS, 32))
