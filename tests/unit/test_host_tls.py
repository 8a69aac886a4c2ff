"""Certificates of domains: what is refused when it is declared, and that no key is shown."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.certificates import certificate
from tickover.fc.domain import CIPHER_SUITES
from tickover.host.tls import CertificateError, check_site, site_of
from tickover.host.tls_settings import TlsSettingsError, tls_settings

OWN = certificate("a.test", "*.b.test")
OTHER = certificate("other.test")


def body(**changes: Any) -> dict[str, Any]:
    return {"protocol": "HTTPS", "certConfig": OWN, **changes}


def encrypted() -> dict[str, str]:
    key = serialization.load_pem_private_key(OWN["privateKey"].encode(), None)
    form = serialization.PrivateFormat.PKCS8
    lock = serialization.BestAvailableEncryption(b"secret")
    pem = key.private_bytes(serialization.Encoding.PEM, form, lock)
    return {**OWN, "privateKey": pem.decode()}


def test_what_can_be_served() -> None:
    for name in ("a.test", "x.b.test", "*.b.test"):
        check_site(name, body())
    check_site("else.test", {"protocol": "HTTP"})
    check_site("a.test", body(tlsConfig={"minVersion": "TLSv1.3", "maxVersion": "TLSv1.3"}))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("b.test", {}, "not for b.test"),
        ("x.y.b.test", {}, "not for x.y.b.test"),
        ("a.test", {"certConfig": {**OWN, "privateKey": OTHER["privateKey"]}}, "do not serve"),
        ("a.test", {"certConfig": encrypted()}, "do not serve"),
        ("a.test", {"certConfig": {**OWN, "certificate": "x"}}, "PEM"),
        ("a.test", {"certConfig": {"certName": "c"}}, "privateKey"),
        ("a.test", {"tlsConfig": {"maxVersion": "TLSv1.1"}}, "maxVersion"),
        ("a.test", {"tlsConfig": {"minVersion": "TLSv1.3", "maxVersion": "TLSv1.2"}}, "below"),
        ("a.test", {"tlsConfig": {"cipherSuites": ["TLS_RSA_WITH_RC4_128_SHA"]}}, r"cipherSuites\[0\]"),
        (
            "a.test",
            {"tlsConfig": {"maxVersion": "TLSv1.2", "cipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}},
            "kind of key",
        ),
        (
            "a.test",
            {"tlsConfig": {"maxVersion": "TLSv1.2", "cipherSuites": ["TLS_AES_128_GCM_SHA256"]}},
            "none of them is for TLSv1.2",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CertificateError, match=said) as caught:
        check_site(name, body(**changes))
    assert "PRIVATE" not in str(caught.value)


def test_every_suite_is_one_of_openssl_or_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    refused = set()
    for name in CIPHER_SUITES:
        try:
            settings = tls_settings({"cipherSuites": [name]})
        except TlsSettingsError:
            refused.add(name)
            continue
        settings.apply(context)
        found = {one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"}
        assert not settings.suites or found == set(settings.suites)
    assert all("RC4" in name or "3DES" in name for name in refused)
    assert len(refused) == 5


def test_suites_of_1_3_alone_leave_1_2_out() -> None:
    assert tls_settings({"cipherSuites": ["TLS_AES_128_GCM_SHA256"]}).lowest is ssl.TLSVersion.TLSv1_3


def test_http_2_is_offered_only_with_suites_that_it_takes() -> None:
    good, bad = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
    assert [tls_settings({"cipherSuites": c}).takes_h2 for c in ([], [good], [good, bad])] == [
        True,
        True,
        False,
    ]


def test_a_site_hides_its_key() -> None:
    assert "PRIVATE" not in repr(site_of("a.test", body()))
