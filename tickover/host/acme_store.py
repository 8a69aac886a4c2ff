"""What the host has by ACME, on disk: the account, the certificates with their keys, and what has failed.

Owns: a folder for each authority in the host's data folder. Promises: files are readable by their owner only
and whole at any time; a file that cannot be read counts as absent, and is logged. Never: shows a key.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog
from cryptography import x509

from tickover.host.acme_plan import Tries, Validity

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its chain, and its key, both in PEM form."""

    certificate: str
    private_key: str = field(repr=False)

    def validity(self) -> Validity:
        """Raises ValueError."""
        found = x509.load_pem_x509_certificates(self.certificate.encode())[0]
        return Validity(found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


@dataclass(frozen=True, slots=True)
class Account:
    """uri: empty until the authority has given one."""

    key: str = field(repr=False)
    uri: str = ""


class AcmeStore:
    """One authority's folder."""

    def __init__(self, data_dir: Path, directory: str) -> None:
        self._folder = data_dir / "acme" / hashlib.sha256(directory.encode()).hexdigest()[:16]

    def account(self) -> Account | None:
        text = self._read("account.json")
        try:
            return Account(**json.loads(text)) if text else None
        except (ValueError, TypeError) as error:
            log.error("the ACME account cannot be read; a new one is made", error=type(error).__name__)
            return None

    def keep_account(self, account: Account) -> None:
        self._write("account.json", json.dumps(asdict(account)))

    def certificate(self, name: str) -> Issued | None:
        """The certificate of a domain, if there is one that can be read."""
        text = self._read(f"{name}.json")
        if not text:
            return None
        try:
            found = Issued(**json.loads(text))
            found.validity()
        except (ValueError, TypeError) as error:
            log.error("a certificate cannot be read", domain=name, error=type(error).__name__)
            return None
        return found

    def keep_certificate(self, name: str, issued: Issued) -> None:
        self._write(f"{name}.json", json.dumps(asdict(issued)))

    def tries(self) -> dict[str, tuple[int, Tries]]:
        """What has failed, by domain: since which change of it, and how."""
        text = self._read("tries.json")
        try:
            rows = json.loads(text) if text else {}
            return {name: (int(row["change"]), Tries(**row["tries"])) for name, row in rows.items()}
        except (ValueError, TypeError, KeyError) as error:
            log.error("what has failed by ACME cannot be read", error=type(error).__name__)
            return {}

    def keep_tries(self, tries: Mapping[str, tuple[int, Tries]]) -> None:
        rows = {name: {"change": change, "tries": asdict(one)} for name, (change, one) in tries.items()}
        self._write("tries.json", json.dumps(rows))

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            log.error("a file of ACME cannot be read", file=name, error=type(error).__name__)
            return ""

    def _write(self, name: str, text: str) -> None:
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f"{name}.new"
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self._folder / name)
