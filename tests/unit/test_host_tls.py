"""Certificates of domains: what is refused when it is declared, and that no key is shown."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.certificates import certificate
from tickover.host.tls import CertificateError, check_site, site_of

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
        ("a.test", {"tlsConfig": {"maxVersion": "TLSv1.2"}}, "maxVersion"),
        ("a.test", {"tlsConfig": {"cipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}}, "cipherSuites"),
    ],
)
def test_what_cannot_be_served_is_refused(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CertificateError, match=said) as caught:
        check_site(name, body(**changes))
    assert "PRIVATE" not in str(caught.value)


def test_a_site_hides_its_key() -> None:
    assert "PRIVATE" not in repr(site_of("a.test", body()))
