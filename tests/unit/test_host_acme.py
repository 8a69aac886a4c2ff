"""ACME without a server: when a certificate is asked for, what is shown to whom, and what is refused."""

from __future__ import annotations

import contextlib
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import certificate
from tickover.errors import ConfigError
from tickover.fc.domain import CustomDomain
from tickover.fc.validate import violations
from tickover.host.acme_challenges import ALPN, PATH, Challenges, Proof
from tickover.host.acme_plan import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Tries,
    Validity,
    acme_settings,
    refusal,
    renew_at,
)
from tickover.host.acme_store import Account, AcmeStore, Issued
from tickover.host.client_hello import Hello
from tickover.host.http import Head

DAY = 86_400.0
URL = "https://acme.test/directory"
ACME = {"protocol": "HTTPS", "certConfig": {"certName": "acme", "certificate": "acme://http-01"}}


@given(st.text(max_size=20), st.floats(1.0, 400.0))
def test_renewed_with_about_a_third_of_its_life_left(name: str, days: float) -> None:
    due = renew_at(name, Validity(0.0, days * DAY), Tries())
    assert 0.63 * days * DAY <= due <= 0.667 * days * DAY


def test_without_a_certificate_at_once_and_spread_by_name() -> None:
    assert renew_at("a.test", None, Tries()) == 0.0
    ninety = Validity(0.0, 90 * DAY)
    assert len({renew_at(f"{n}.test", ninety, Tries()) for n in range(50)}) == 50


@given(st.integers(1, 10_000), st.booleans())
def test_failures_are_followed_by_longer_and_longer_pauses(failures: int, has_one: bool) -> None:
    validity = Validity(0.0, 1.0) if has_one else None
    pause = renew_at("a.test", validity, Tries(failures, 1e9, "x")) - 1e9
    assert FIRST_PAUSE_SECONDS <= pause <= 1.25 * LONGEST_PAUSE_SECONDS
    later = renew_at("a.test", validity, Tries(failures + 2, 1e9, "x")) - 1e9
    assert later > pause or pause >= LONGEST_PAUSE_SECONDS


def test_a_certificate_that_is_old_when_it_comes_is_not_renewed_in_a_loop() -> None:
    assert renew_at("a.test", Validity(0.0, 10.0), Tries(last_s=1e6)) == 1e6 + FIRST_PAUSE_SECONDS


@pytest.mark.parametrize(
    "directory", ["http://acme.test/", "acme.test", "https://", "https://u:secret@acme.test/", "https://[x"]
)
def test_directories_that_are_refused(directory: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        acme_settings({"TICKOVER_ACME_DIRECTORY": directory})


def test_settings(tmp_path: Path) -> None:
    assert acme_settings({}) is None
    found = acme_settings({"TICKOVER_ACME_DIRECTORY": URL, "TICKOVER_ACME_EMAIL": "me@a.test"})
    assert found is not None
    assert (found.directory, found.email) == (URL, "me@a.test")
    with pytest.raises(ConfigError, match="no file"):
        acme_settings({"TICKOVER_ACME_DIRECTORY": URL, "TICKOVER_ACME_CA_FILE": str(tmp_path / "absent")})


def test_domains_that_are_refused() -> None:
    assert "TICKOVER_ACME_DIRECTORY" in refusal("a.test", ACME, is_set_up=False)
    assert "at most 230" in refusal("a" * 63 + ".b" * 90, ACME, is_set_up=True)
    assert "dns-01" in refusal("*.a.test", ACME, is_set_up=True)
    assert refusal("a.test", ACME, is_set_up=True) == ""
    assert refusal("*.a.test", {"protocol": "HTTP"}, is_set_up=False) == ""


@pytest.mark.parametrize(
    ("cert", "wrong"),
    [
        ({"certificate": "acme://http-01"}, []),
        ({"certificate": "acme://dns-01"}, ["certConfig.certificate"]),
        ({}, ["certConfig.certificate"]),
        ({"certificate": certificate("a.test")["certificate"]}, ["certConfig.privateKey"]),
        (
            {**certificate("a.test"), "certificate": "acme://http-01"},
            ["certConfig.privateKey"],
        ),
    ],
)
def test_a_domain_has_its_own_certificate_or_one_by_acme(cert: dict[str, object], wrong: list[str]) -> None:
    wire = {"domainName": "a.test", "protocol": "HTTPS", "certConfig": {"certName": "c", **cert}}
    assert [found.path for found in violations(CustomDomain, wire)] == wrong


def test_only_the_authority_is_shown_a_text() -> None:
    challenges = Challenges()
    proof = Proof("http-01", "a.test", "token", "token.print")
    asked = Head("GET", PATH + "token", ((b"host", b"a.test"),))
    assert challenges.answer(asked) is None
    with challenges.shown(proof):
        found = challenges.answer(asked)
        assert found is not None
        assert (found.status, found.body) == (200, b"token.print")
        for other in (
            Head("POST", PATH + "token", ()),
            Head("GET", PATH + "x", ()),
            Head("GET", "/token", ()),
        ):
            assert challenges.answer(other) is None
        assert challenges.context(Hello("a.test", (ALPN,))) is None
    assert challenges.answer(asked) is None


def test_only_the_authority_is_shown_a_certificate_of_a_challenge() -> None:
    challenges = Challenges()
    with challenges.shown(Proof("tls-alpn-01", "a.test", "token", "token.print")):
        assert challenges.context(Hello("a.test", ("h2", "http/1.1"))) is None
        assert challenges.context(Hello("a.test", ("http/1.1", ALPN))) is None
        assert challenges.context(Hello("b.test", (ALPN,))) is None
        context = challenges.context(Hello("a.test", (ALPN,)))
        assert context is not None
        shown, protocol = handshake(context)
    assert protocol == ALPN
    extension = shown.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert extension.critical
    assert challenges.context(Hello("a.test", (ALPN,))) is None


def handshake(server: ssl.SSLContext) -> tuple[x509.Certificate, str | None]:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols([ALPN])
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(there, back, server_side=True)
    theirs = client.wrap_bio(back, there, server_hostname="a.test")
    for _ in range(4):
        for side in (theirs, ours):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown = theirs.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown), theirs.selected_alpn_protocol()


def test_what_is_kept(tmp_path: Path) -> None:
    store = AcmeStore(tmp_path, URL)
    pair = certificate("a.test")
    issued = Issued(pair["certificate"], pair["privateKey"])
    assert (store.account(), store.certificate("a.test"), store.tries()) == (None, None, {})
    store.keep_account(Account("KEY", "https://acme.test/1"))
    store.keep_certificate("a.test", issued)
    store.keep_tries({"a.test": (7, Tries(1, 2.0, "why"))})
    again = AcmeStore(tmp_path, URL)
    assert again.account() == Account("KEY", "https://acme.test/1")
    assert again.certificate("a.test") == issued
    assert again.tries() == {"a.test": (7, Tries(1, 2.0, "why"))}
    assert AcmeStore(tmp_path, URL + "2").certificate("a.test") is None
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert "KEY" not in repr(again.account())
    assert "PRIVATE" not in repr(issued)
    for path in files:
        path.write_bytes(b"\xff")
    assert (again.account(), again.certificate("a.test"), again.tries()) == (None, None, {})
    for path in files:
        path.write_text("{")
    assert (again.account(), again.certificate("a.test"), again.tries()) == (None, None, {})
