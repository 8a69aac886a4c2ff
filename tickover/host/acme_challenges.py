"""What the host answers to an authority that looks whether a domain is ours.

Owns: the challenges under way. Promises: only they are answered; everything else under the same path, and
every other handshake, goes the usual way. Never: asks for a certificate.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tickover.host.acme_plan import TLS_ALPN_01
from tickover.host.client_hello import Hello
from tickover.host.http import Head, Response
from tickover.host.tls import bare_context, load_pair

ALPN: Final = "acme-tls/1"
PATH: Final = "/.well-known/acme-challenge/"
_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737
_OCTET_STRING: Final = b"\x04\x20"  # in DER, of 32 bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """What an authority wants to see for a domain, by http-01 or tls-alpn-01."""

    challenge: str
    name: str
    token: str
    key_authorization: str


class Challenges:
    """The proofs that are shown now."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}  # by token
        self._contexts: dict[str, ssl.SSLContext] = {}  # by domain

    @contextlib.contextmanager
    def shown(self, proof: Proof) -> Iterator[None]:
        """Show a proof for as long as this lasts. May be used from any thread."""
        if proof.challenge == TLS_ALPN_01:
            self._contexts[proof.name] = _context(proof)
        else:
            self._texts[proof.token] = proof.key_authorization.encode()
        try:
            yield
        finally:
            self._texts.pop(proof.token, None)
            self._contexts.pop(proof.name, None)

    def answer(self, head: Head) -> Response | None:
        """The answer to an authority's request; None to anybody else's."""
        if not self._texts or not head.path.startswith(PATH) or head.method not in ("GET", "HEAD"):
            return None
        text = self._texts.get(head.path[len(PATH) :])
        return (
            None if text is None else Response(200, text, ((b"content-type", b"application/octet-stream"),))
        )

    def context(self, hello: Hello) -> ssl.SSLContext | None:
        """The context for an authority's handshake; None for anybody else's."""
        return self._contexts.get(hello.server_name) if hello.protocols == (ALPN,) else None


def _context(proof: Proof) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    digest = hashlib.sha256(proof.key_authorization.encode()).digest()
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(proof.name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_IDENTIFIER, _OCTET_STRING + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = bare_context(ALPN)
    load_pair(context, made.public_bytes(serialization.Encoding.PEM).decode(), pem.decode())
    return context
