"""Passphrase secrets, checked against the documented format with the low-level cipher."""

from __future__ import annotations

import base64
import hashlib
import os
import stat

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.engine_state import keyring, locked_keyring
from tickover.engine.secrets import (
    Keyring,
    Passphrase,
    new_crypter,
    passphrase_resolver,
    resolve_passphrase,
)
from tickover.engine.state import SecretsProvider
from tickover.errors import Exit, TickoverError

ENV = "PULUMI_CONFIG_PASSPHRASE"


@pytest.fixture(scope="module")
def crypter():
    return new_crypter(lambda: Passphrase("s3cret", "the test"))


def by_hand(salt_text: str, passphrase: str, ciphertext: str) -> str:
    """Decrypts with the low-level cipher, from the documented format."""
    salt = base64.b64decode(salt_text.split(":")[1])
    assert len(salt) == 8
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, 1_000_000, 32)
    version, nonce, sealed = ciphertext.split(":")
    data = base64.b64decode(sealed)
    mode = modes.GCM(base64.b64decode(nonce), tag=data[-16:])
    decryptor = Cipher(algorithms.AES(key), mode).decryptor()
    assert version == "v1"
    return (decryptor.update(data[:-16]) + decryptor.finalize()).decode()


def test_the_format_is_the_documented_one(crypter):
    salt_text = crypter.salt_text
    assert salt_text.split(":")[0] == "v1"
    assert by_hand(salt_text, "s3cret", salt_text.split(":", 2)[2]) == "pulumi"
    assert by_hand(salt_text, "s3cret", crypter.encrypt("käse")) == "käse"


def test_a_second_crypter_of_the_same_salt_opens_it(crypter):
    other = Keyring(lambda: "s3cret").for_provider(crypter.provider)
    assert other.decrypt(crypter.encrypt("x")) == "x"
    assert other.provider == crypter.provider
    assert crypter.encrypt("x") != crypter.encrypt("x")


def test_a_wrong_passphrase_names_its_source_and_not_itself(crypter):
    wrong = Keyring(lambda: Passphrase("wrong-one", "the file x")).for_salt(crypter.salt_text)
    with pytest.raises(TickoverError) as caught:
        wrong.decrypt(crypter.encrypt("x"))
    assert caught.value.exit_code == Exit.AUTHENTICATION
    assert "the file x" in str(caught.value)
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize("text", ["v1:AAAA:AAAA", "v2:a:b", "", "v1:%:%", "v1:" + "A" * 16 + ":" + "A" * 32])
def test_a_damaged_ciphertext_is_an_error(crypter, text):
    with pytest.raises(TickoverError, match="Secret cannot be decrypted"):
        crypter.decrypt(text)


@pytest.mark.parametrize("salt", ["v2:AAAA:x", "v1:%%%:x", "v1"])
def test_a_damaged_salt_is_an_error(salt):
    with pytest.raises(TickoverError) as caught:
        Keyring(lambda: "p").for_salt(salt).encrypt("x")
    assert caught.value.exit_code == Exit.AUTHENTICATION


def test_nothing_shows_a_passphrase():
    secret = Passphrase("hunter2", "nowhere")
    ring = Keyring(lambda: secret)
    shown = repr(secret) + repr(ring) + repr(ring.for_salt("v1:a:b")) + repr({"p": secret})
    assert "hunter2" not in shown


def test_no_secret_no_question():
    ring = locked_keyring()
    assert ring.for_provider(None).provider is None
    assert ring.for_provider(SecretsProvider("passphrase", {"salt": "v1:a:b"})).provider is not None


def test_a_state_without_salt_gets_one_a_keyring():
    ring = keyring()
    first, second = ring.for_provider(None), ring.for_provider(None)
    text = first.encrypt("x")
    second.encrypt("y")
    assert first.provider == second.provider is not None
    assert ring.for_provider(first.provider).decrypt(text) == "x"


def test_the_preferred_salt_is_used(crypter):
    late = Keyring(lambda: "s3cret", crypter.salt_text).for_provider(None)
    late.encrypt("x")
    assert late.provider == crypter.provider


def test_other_providers_are_refused():
    with pytest.raises(TickoverError, match="Secrets provider not supported"):
        keyring().for_provider(SecretsProvider("service", {"url": "x"}))


# --- where it comes from ------------------------------------------------------------------------------


def test_sources_in_their_order(tmp_path):
    (tmp_path / "passphrase").write_text("home\n")
    (tmp_path / "named").write_text(" file \n")
    file_env = {f"{ENV}_FILE": str(tmp_path / "named")}
    assert resolve_passphrase(file_env | {ENV: "env"}, tmp_path)[0] == "env"
    assert resolve_passphrase(file_env, tmp_path)[0] == "file"
    found, source = resolve_passphrase({}, tmp_path)
    assert (found, source) == ("home", f"the file {tmp_path / 'passphrase'}")


def test_an_empty_passphrase_counts(tmp_path):
    assert resolve_passphrase({ENV: ""}, tmp_path) == ("", f"the environment variable {ENV}")


def test_a_new_stack_gets_a_file_of_its_own(tmp_path):
    home = tmp_path / "deep" / "home"
    made, _ = resolve_passphrase({}, home, stack_has_salt=False)
    path = home / "passphrase"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(made) == 32
    assert resolve_passphrase({}, home)[0] == made


def test_an_existing_stack_without_passphrase_is_told_the_ways(tmp_path):
    with pytest.raises(TickoverError) as caught:
        resolve_passphrase({}, tmp_path, stack_has_salt=True)
    text = str(caught.value)
    assert caught.value.exit_code == Exit.AUTHENTICATION
    assert all(way in text for way in (ENV, f"{ENV}_FILE", str(tmp_path / "passphrase")))
    assert not (tmp_path / "passphrase").exists()


def test_a_named_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(TickoverError, match="Passphrase file cannot be read"):
        resolve_passphrase({f"{ENV}_FILE": str(tmp_path / "none")}, tmp_path)


def test_the_resolver_asks_for_the_stack_only_if_it_must(tmp_path):
    asked = []
    resolver = passphrase_resolver({ENV: "e"}, tmp_path, lambda: bool(asked.append(1)))
    assert resolver() == "e"
    assert asked == []
    made = passphrase_resolver({}, tmp_path, lambda: bool(asked.append(1)))
    assert made() == made()
    assert asked == [1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_cannot_be_written_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(TickoverError, match="Passphrase cannot be stored"):
        resolve_passphrase({}, tmp_path / "x", stack_has_salt=False)
