"""Certificates of custom domains, and which of them a caller gets.

Owns: the TLS contexts made from declared domains. Promises: a caller gets the certificate of the domain that
it names or no connection; a changed certificate counts from the next handshake on; a private key is in memory
only, and in no message. Never: fetches or renews a certificate.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tickover.host.acme_plan import challenge_of
from tickover.host.client_hello import Hello
from tickover.host.registry import ObjectRegistry
from tickover.host.store import Kind
from tickover.host.tls_settings import TlsSettings, TlsSettingsError, tls_settings

log = structlog.get_logger(__name__)

_NEVER_ASKED: Final = b"\0"  # OpenSSL would ask the terminal for the passphrase of a key


class CertificateError(ValueError):
    """A certificate, key or TLS setting that this host cannot serve."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the handshake needs of one domain."""

    name: str
    certificate: str
    private_key: str = field(repr=False)
    settings: TlsSettings = field(default_factory=TlsSettings)


class Pair(Protocol):
    """A certificate with its chain and its key, in PEM form."""

    @property
    def certificate(self) -> str: ...
    @property
    def private_key(self) -> str: ...


class Issuer(Protocol):
    """Who has the certificates of domains that declare none of their own."""

    @property
    def generation(self) -> int:
        """Grows whenever `find` may answer anew."""
        ...

    def find(self, name: str) -> Pair | None: ...


def settings_of(body: Mapping[str, Any]) -> TlsSettings:
    """The tlsConfig of a domain. Raises CertificateError."""
    try:
        return tls_settings(body.get("tlsConfig") or {})
    except TlsSettingsError as err:
        raise CertificateError(f"tlsConfig.{err}") from err


def site_of(name: str, body: Mapping[str, Any]) -> Site | None:
    """The site of a domain with its own certificate; None if it speaks no HTTPS. Raises CertificateError."""
    if "HTTPS" not in (body.get("protocol") or "HTTP"):
        return None
    cert = body.get("certConfig") or {}
    if not cert.get("certificate") or not cert.get("privateKey"):
        raise CertificateError("certConfig: HTTPS needs a certificate and its privateKey")
    return Site(name, cert["certificate"], cert["privateKey"], settings_of(body))


def check_site(name: str, body: Mapping[str, Any]) -> None:
    """Raise CertificateError unless the domain could be served as declared."""
    if challenge_of(body) is not None:
        settings_of(body)
        return
    site = site_of(name, body)
    if site is None:
        return
    names = _names_of(site.certificate)
    if not covers(site.certificate, name):
        told = ", ".join(names[:5]) or "no name"
        raise CertificateError(f"certConfig.certificate: is for {told}, not for {name}")
    if not site.settings.fits(is_rsa=_is_rsa(site.certificate)):
        raise CertificateError("tlsConfig.cipherSuites: none of them is for the kind of key of certConfig")
    context_of(site)


def context_of(site: Site) -> ssl.SSLContext:
    """The TLS context of a site. Raises CertificateError."""
    context = bare_context(*(["h2"] if site.settings.takes_h2 else []), "http/1.1")
    site.settings.apply(context)
    load_pair(context, site.certificate, site.private_key)
    return context


def bare_context(*protocols: str) -> ssl.SSLContext:
    """A server's context without a certificate, for these protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TlsSettings().apply(context)
    context.set_alpn_protocols(protocols)
    return context


def load_pair(context: ssl.SSLContext, certificate: str, private_key: str) -> None:
    """Give a context its certificate. Raises CertificateError."""
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)  # OpenSSL reads files only; this one has no name
    with os.fdopen(memory, "wb") as file:
        file.write(f"{private_key}\n{certificate}\n".encode())
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{memory}", password=lambda: _NEVER_ASKED)
        except (ssl.SSLError, ValueError, OSError) as err:
            why = getattr(err, "reason", None) or "it cannot be read"
            raise CertificateError(f"certConfig: certificate and privateKey do not serve: {why}") from None


class Certificates:
    """The contexts of the domains as they are declared now.

    special: goes first, for callers who ask for more than a domain.
    """

    def __init__(
        self,
        registry: Callable[[], ObjectRegistry],
        issuer: Issuer | None = None,
        special: Callable[[Hello], ssl.SSLContext | None] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._issuer = issuer
        self._special = special
        self._seen: tuple[ObjectRegistry, int, int] | None = None
        self._sites: dict[str, tuple[Site, ssl.SSLContext]] = {}

    def choose(self, hello: Hello) -> ssl.SSLContext | None:
        """The context of the domain that a caller names."""
        special = self._special(hello)
        if special is not None:
            return special
        self._refresh()
        found = self._find(hello.server_name)
        return found[1] if found is not None else None

    def _find(self, name: str) -> tuple[Site, ssl.SSLContext] | None:
        return self._sites.get(name) or self._sites.get("*." + name.partition(".")[2])

    def _refresh(self) -> None:
        registry = self._registry()
        seen = (registry, registry.generation, self._issuer.generation if self._issuer else 0)
        if self._seen == seen:
            return
        sites: dict[str, tuple[Site, ssl.SSLContext]] = {}
        for row in registry.select(Kind.DOMAIN):
            try:
                site = self._site(row.name.lower(), row.body)
                if site is not None:
                    known = self._sites.get(site.name)
                    same = known is not None and known[0] == site
                    sites[site.name] = known if same and known is not None else (site, context_of(site))
            except CertificateError as err:
                log.error("a domain is not served over TLS", domain=row.name, reason=str(err))
        self._sites, self._seen = sites, seen

    def _site(self, name: str, body: Mapping[str, Any]) -> Site | None:
        if challenge_of(body) is None:
            return site_of(name, body)
        issued = self._issuer.find(name) if self._issuer else None
        if issued is None:
            return None
        return Site(name, issued.certificate, issued.private_key, settings_of(body))


def _is_rsa(certificate: str) -> bool:
    found = x509.load_pem_x509_certificates(certificate.encode())[0]
    return isinstance(found.public_key(), rsa.RSAPublicKey)


def _names_of(certificate: str) -> list[str]:
    try:
        found = x509.load_pem_x509_certificates(certificate.encode())[0]
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(name).lower() for name in names.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        return [
            str(part.value).lower() for part in found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        ]
    except (ValueError, IndexError) as err:
        raise CertificateError("certConfig.certificate: is not a certificate in PEM form") from err


def covers(certificate: str, name: str) -> bool:
    """Whether a certificate is for a name. Raises CertificateError."""
    return any(_covers(known, name) for known in _names_of(certificate))


def _covers(known: str, name: str) -> bool:
    """A star stands for one label."""
    if known == name:
        return True
    return known.startswith("*.") and not name.startswith("*.") and known[2:] == name.partition(".")[2]
