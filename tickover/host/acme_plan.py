"""Certificates by ACME: what is asked of whom, and when a certificate is asked for.

Owns: the host's settings and the rule of renewal. Promises: functions of (values, now); no order follows
another at once, whatever came of that. Never: asks a certificate authority, reads a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tickover.errors import ConfigError
from tickover.fc.domain import ACME

DIRECTORY_VARIABLE: Final = "TICKOVER_ACME_DIRECTORY"
EMAIL_VARIABLE: Final = "TICKOVER_ACME_EMAIL"
CA_FILE_VARIABLE: Final = "TICKOVER_ACME_CA_FILE"
TLS_ALPN_01: Final = "tls-alpn-01"
FIRST_PAUSE_SECONDS: Final = 300.0  # authorities count failures by the hour
MAX_NAME: Final = 230  # of a file's
LONGEST_PAUSE_SECONDS: Final = 6 * 3600.0


class OrderFailed(Exception):
    """No certificate, and why."""


@dataclass(frozen=True, slots=True)
class AcmeSettings:
    """directory: the URL of the authority's. ca_file: whom to trust as it, instead of the system's."""

    directory: str
    email: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate counts, in seconds of the wall clock."""

    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class Tries:
    """What has failed since the last success. last_s: of the last order, whatever became of it."""

    failures: int = 0
    last_s: float = 0.0
    problem: str = ""


def acme_settings(environ: Mapping[str, str]) -> AcmeSettings | None:
    """The settings in an environment; None without a directory. Raises ConfigError."""
    directory = environ.get(DIRECTORY_VARIABLE, "").strip()
    if not directory:
        return None
    try:
        parts = urlsplit(directory)
        is_usable = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigError(
            "acme-directory",
            "ACME directory is not a URL",
            f"{DIRECTORY_VARIABLE} must be an https:// URL without a password, not {directory!r}.",
            hint=f"export {DIRECTORY_VARIABLE}=https://acme-v02.api.letsencrypt.org/directory",
        )
    ca_file = environ.get(CA_FILE_VARIABLE, "").strip()
    if ca_file and not Path(ca_file).is_file():
        raise ConfigError(
            "acme-ca-file",
            "CA file of the ACME server does not exist",
            f"{CA_FILE_VARIABLE} names {ca_file}, which is no file.",
        )
    return AcmeSettings(directory, environ.get(EMAIL_VARIABLE, "").strip(), ca_file)


def challenge_of(body: Mapping[str, Any]) -> str | None:
    """How a declared domain proves that it is ours; None if it has no certificate by ACME."""
    if "HTTPS" not in (body.get("protocol") or "HTTP"):
        return None
    certificate = str((body.get("certConfig") or {}).get("certificate") or "")
    return certificate.removeprefix(ACME) if certificate.startswith(ACME) else None


def refusal(name: str, body: Mapping[str, Any], *, is_set_up: bool) -> str:
    """Why a domain cannot have a certificate by ACME here; empty if it can, or wants none."""
    if challenge_of(body) is None:
        return ""
    if not is_set_up:
        return f"certConfig.certificate: this host knows no ACME server; start it with {DIRECTORY_VARIABLE}=https://…"
    if name.startswith("*."):
        return f"certConfig.certificate: {name} would need the dns-01 challenge; name the domains one by one"
    if len(name) > MAX_NAME:
        return f"certConfig.certificate: {ACME} takes names of at most {MAX_NAME} characters"
    return ""


def renew_at(name: str, validity: Validity | None, tries: Tries) -> float:
    """When to ask for a (new) certificate: with a third of its life left, and later after each failure.

    Spread a little, the same way each time, so that many domains do not come at once.
    """
    if tries.failures:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(tries.failures - 1, 16))
        return tries.last_s + pause * (1 + 0.25 * _share(name, tries.failures))
    if validity is None:
        return 0.0
    life = validity.ends_s - validity.begins_s
    due = validity.ends_s - life / 3 - _share(name, 0) * life / 30
    return max(due, tries.last_s + FIRST_PAUSE_SECONDS) if tries.last_s else due


def _share(name: str, number: int) -> float:
    """A number from 0 to 1 that is the same for the same words."""
    digest = hashlib.sha256(f"{name} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32
