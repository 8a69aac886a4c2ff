"""tlsConfig: which versions and cipher suites a domain speaks, in OpenSSL's terms.

Owns: the table of suites. Promises: a function of the config; what cannot be served as declared is refused,
with what can. Never: makes a context.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = MappingProxyType(
    {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
)
_LOWER: Final = frozenset({"TLSv1.0", "TLSv1.1"})  # as the lowest they are fine: what is spoken is higher
_OF_1_3: Final = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
_OPENSSL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        **{
            f"TLS_ECDHE_{kind}_WITH_{name}": f"ECDHE-{kind}-{openssl}"
            for kind in ("RSA", "ECDSA")
            for name, openssl in {
                "AES_128_CBC_SHA": "AES128-SHA",
                "AES_256_CBC_SHA": "AES256-SHA",
                "AES_128_CBC_SHA256": "AES128-SHA256",
                "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
                "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
                "CHACHA20_POLY1305": "CHACHA20-POLY1305",
                "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
            }.items()
        },
    }
)


class TlsSettingsError(ValueError):
    """A tlsConfig that this host cannot serve."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """suites: OpenSSL's names of those of TLSv1.2, in the order they are preferred; none: OpenSSL's own."""

    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    suites: tuple[str, ...] = ()

    def apply(self, context: ssl.SSLContext) -> None:
        """Have a context speak only so."""
        context.minimum_version, context.maximum_version = self.lowest, self.highest
        if self.suites:
            context.set_ciphers(":".join(self.suites))

    @property
    def takes_h2(self) -> bool:
        """Whether HTTP/2 may be offered: it forbids some suites, and callers leave when they get one."""
        return all(s.startswith("ECDHE-") and ("GCM" in s or "POLY1305" in s) for s in self.suites)

    def fits(self, *, is_rsa: bool) -> bool:
        """Whether a key of this kind can be used with any of it."""
        if self.highest is ssl.TLSVersion.TLSv1_3 or not self.suites:
            return True
        return any(("ECDSA" not in suite) is is_rsa for suite in self.suites)


def tls_settings(config: Mapping[str, Any]) -> TlsSettings:
    """The settings of a tlsConfig. Raises TlsSettingsError."""
    low, high = config.get("minVersion") or "TLSv1.2", config.get("maxVersion") or "TLSv1.3"
    if high not in VERSIONS:
        raise TlsSettingsError(f"maxVersion: this host speaks {' and '.join(VERSIONS)}, not {high}")
    if low not in VERSIONS and low not in _LOWER:
        raise TlsSettingsError(f"minVersion: this host speaks {' and '.join(VERSIONS)}, not {low}")
    lowest, highest = VERSIONS.get(low, ssl.TLSVersion.TLSv1_2), VERSIONS[high]
    if lowest > highest:
        raise TlsSettingsError(f"maxVersion {high} is below minVersion {low}")
    named = tuple(config.get("cipherSuites") or ())
    for index, name in enumerate(named):
        if name not in _OPENSSL and name not in _OF_1_3:
            raise TlsSettingsError(
                f"cipherSuites[{index}]: {name} is not among those that this host offers: "
                f"{', '.join((*_OPENSSL, *sorted(_OF_1_3)))}"
            )
    suites = tuple(dict.fromkeys(_OPENSSL[name] for name in named if name in _OPENSSL))
    if named and not suites and highest is ssl.TLSVersion.TLSv1_2:
        raise TlsSettingsError("cipherSuites: none of them is for TLSv1.2, the maxVersion")
    if named and not suites:
        lowest = ssl.TLSVersion.TLSv1_3
    return TlsSettings(lowest, highest, suites)
