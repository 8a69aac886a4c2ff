"""Certificates of custom domains, and the handshake that picks one of them.

Owns: the TLS contexts made from declared domains. Promises: a caller gets the certificate of the domain that
it names or no connection; a changed certificate counts from the next handshake on; a private key is in memory
only, and in no message. Never: fetches or renews a certificate.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from cryptography import x509

from tickover.host.registry import ObjectRegistry
from tickover.host.store import Kind

log = structlog.get_logger(__name__)

HANDSHAKE_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 2.0  # for a caller to answer our goodbye
_NEVER_ASKED: Final = b"\0"  # OpenSSL would ask the terminal for the passphrase of a key


class CertificateError(ValueError):
    """A certificate, key or TLS setting that this host cannot serve."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the handshake needs of one domain."""

    name: str
    certificate: str
    private_key: str = field(repr=False)
    min_version: str = "TLSv1.2"


def site_of(name: str, body: Mapping[str, Any]) -> Site | None:
    """The site of a declared domain; None if it speaks no HTTPS. Raises CertificateError."""
    if "HTTPS" not in (body.get("protocol") or "HTTP"):
        return None
    cert = body.get("certConfig") or {}
    if not cert.get("certificate") or not cert.get("privateKey"):
        raise CertificateError("certConfig: HTTPS needs a certificate and its privateKey")
    settings = body.get("tlsConfig") or {}
    if settings.get("cipherSuites"):
        raise CertificateError("tlsConfig.cipherSuites: this host does not choose cipher suites by domain")
    if (settings.get("maxVersion") or "TLSv1.3") != "TLSv1.3":
        raise CertificateError("tlsConfig.maxVersion: this host always speaks up to TLSv1.3")
    return Site(name, cert["certificate"], cert["privateKey"], settings.get("minVersion") or "TLSv1.2")


def check_site(name: str, body: Mapping[str, Any]) -> None:
    """Raise CertificateError unless the domain could be served as declared."""
    site = site_of(name, body)
    if site is None:
        return
    names = _names_of(site.certificate)
    if not any(_covers(known, name) for known in names):
        told = ", ".join(names[:5]) or "no name"
        raise CertificateError(f"certConfig.certificate: is for {told}, not for {name}")
    context_of(site)


def context_of(site: Site) -> ssl.SSLContext:
    """The TLS context of a site. Raises CertificateError."""
    context = _bare_context()
    if site.min_version == "TLSv1.3":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)  # OpenSSL reads files only; this one has no name
    with os.fdopen(memory, "wb") as file:
        file.write(f"{site.private_key}\n{site.certificate}\n".encode())
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{memory}", password=lambda: _NEVER_ASKED)
        except (ssl.SSLError, ValueError, OSError) as err:
            why = getattr(err, "reason", None) or "it cannot be read"
            raise CertificateError(f"certConfig: certificate and privateKey do not serve: {why}") from None
    return context


def is_too_old(connection: ssl.SSLObject) -> bool:
    """Whether a handshake that is over has settled on a version below the one its domain asks for.

    OpenSSL settles the version before the name is read, and Python tells it only after the handshake.
    """
    wanted = connection.context.minimum_version
    return wanted is ssl.TLSVersion.TLSv1_3 and connection.version() != "TLSv1.3"


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class Certificates:
    """The contexts of the domains as they are declared now."""

    def __init__(self, registry: Callable[[], ObjectRegistry]) -> None:
        self._registry = registry
        self._seen: tuple[ObjectRegistry, int] | None = None
        self._sites: dict[str, tuple[Site, ssl.SSLContext]] = {}

    def listening(self) -> ssl.SSLContext:
        """The context of the listening socket, which asks `pick` at each handshake."""
        context = _bare_context()
        context.sni_callback = self.pick
        return context

    def pick(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        """Give a handshake the certificate of the domain that it names, or end it."""
        self._refresh()
        found = self._find((name or "").lower())
        if found is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = found[1]
        return None

    def _find(self, name: str) -> tuple[Site, ssl.SSLContext] | None:
        return self._sites.get(name) or self._sites.get("*." + name.partition(".")[2])

    def _refresh(self) -> None:
        registry = self._registry()
        if self._seen == (registry, registry.generation):
            return
        sites: dict[str, tuple[Site, ssl.SSLContext]] = {}
        for row in registry.select(Kind.DOMAIN):
            try:
                site = site_of(row.name.lower(), row.body)
                if site is not None:
                    known = self._sites.get(site.name)
                    same = known is not None and known[0] == site
                    sites[site.name] = known if same and known is not None else (site, context_of(site))
            except CertificateError as err:
                log.error("a domain is not served over TLS", domain=row.name, reason=str(err))
        self._sites, self._seen = sites, (registry, registry.generation)


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


def _covers(known: str, name: str) -> bool:
    """A star stands for one label."""
    if known == name:
        return True
    return known.startswith("*.") and not name.startswith("*.") and known[2:] == name.partition(".")[2]
