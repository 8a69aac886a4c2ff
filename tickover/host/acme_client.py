"""One order of a certificate, by certbot's `acme` library.

Owns: the talk with an authority. Promises: it ends within its time-outs; what is returned serves the domain;
whatever goes wrong is one error in words, without a key in it. Never: decides when, keeps a certificate.
It blocks: for a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Final

import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC
from josepy.util import ComparableECKey

from tickover.host.acme_challenges import Proof
from tickover.host.acme_plan import TLS_ALPN_01, AcmeSettings, OrderFailed
from tickover.host.acme_store import Account, AcmeStore, Issued

CALL_SECONDS: Final = 20
ORDER_SECONDS: Final = 90
_NO_SUCH_ACCOUNT: Final = "accountDoesNotExist"

Show = Callable[[Proof], AbstractContextManager[None]]


@challenges.ChallengeResponse.register
class _TlsAlpnResponse(challenges.KeyAuthorizationChallengeResponse):
    typ = TLS_ALPN_01


@challenges.Challenge.register
class _TlsAlpn(challenges.KeyAuthorizationChallenge):
    """RFC 8737, which the library leaves to its users."""

    response_cls = _TlsAlpnResponse
    typ = TLS_ALPN_01

    def validation(self, account_key: JWK, **_: Any) -> str:
        return self.key_authorization(account_key)


def order(settings: AcmeSettings, store: AcmeStore, name: str, challenge: str, show: Show) -> Issued:
    """A new certificate for a domain. Raises OrderFailed."""
    try:
        return _order(settings, store, name, challenge, show)
    except errors.ValidationError as error:
        raise OrderFailed(_why_not_valid(error)) from error
    except errors.TimeoutError as error:
        raise OrderFailed(f"the ACME server was not done within {ORDER_SECONDS} seconds") from error
    except messages.Error as error:
        raise OrderFailed(f"the ACME server refused: {error.detail or error.typ}") from error
    except requests.RequestException as error:
        raise OrderFailed(f"the ACME server cannot be reached ({type(error).__name__})") from error
    except (errors.Error, JoseError, ValueError, KeyError) as error:
        raise OrderFailed(
            f"the ACME server answered what is not expected ({type(error).__name__})"
        ) from error


def _order(settings: AcmeSettings, store: AcmeStore, name: str, challenge: str, show: Show) -> Issued:
    talk = _talk(settings, store)
    key = _pem(ec.generate_private_key(ec.SECP256R1()))
    asked = talk.new_order(crypto_util.make_csr(key.encode(), [name]))
    deadline = datetime.now() + timedelta(seconds=ORDER_SECONDS)  # the library compares with local time
    with contextlib.ExitStack() as shown:
        for authorization in asked.authorizations:
            if authorization.body.status != messages.STATUS_VALID:
                _answer(talk, authorization, name, challenge, show, shown)
        asked = talk.poll_authorizations(asked, deadline)
    done = talk.finalize_order(asked, deadline)
    return Issued(done.fullchain_pem, key)


def _answer(
    talk: client.ClientV2,
    authorization: messages.AuthorizationResource,
    name: str,
    challenge: str,
    show: Show,
    shown: contextlib.ExitStack,
) -> None:
    found = next((one for one in authorization.body.challenges if one.chall.typ == challenge), None)
    if found is None:
        offered = ", ".join(sorted(str(one.chall.typ) for one in authorization.body.challenges))
        raise OrderFailed(f"the ACME server offers no {challenge} for {name}, but {offered}")
    key = talk.net.key
    proof = Proof(challenge, name, found.chall.encode("token"), found.chall.key_authorization(key))
    shown.enter_context(show(proof))
    talk.answer_challenge(found, found.chall.response(key))


def _talk(settings: AcmeSettings, store: AcmeStore) -> client.ClientV2:
    """A client that speaks for the host's account, which is made if there is none."""
    account = store.account()
    if account is None:
        account = Account(_pem(ec.generate_private_key(ec.SECP256R1())))
        store.keep_account(account)  # before the authority knows of it, so that it is not lost
    secret = serialization.load_pem_private_key(account.key.encode(), None)
    if not isinstance(secret, ec.EllipticCurvePrivateKey):
        raise OrderFailed("the key of the ACME account is of another kind than this host makes")
    net = client.ClientNetwork(
        JWKEC(key=ComparableECKey(secret)),
        alg=ES256,
        user_agent="tickover",
        timeout=CALL_SECONDS,
    )
    if settings.ca_file:
        net.verify_ssl = settings.ca_file  # type: ignore[assignment]  # requests takes a path as well
    talk = client.ClientV2(client.ClientV2.get_directory(settings.directory, net), net)
    if account.uri:
        known = messages.RegistrationResource(uri=account.uri, body=messages.Registration())
        try:
            talk.query_registration(known)
            return talk
        except messages.Error as error:
            if error.code != _NO_SUCH_ACCOUNT:
                raise
            net.account = None
    if talk.external_account_required():
        raise OrderFailed("the ACME server wants an external account binding, which this host does not do")
    store.keep_account(Account(account.key, _register(talk, settings.email)))
    return talk


def _register(talk: client.ClientV2, email: str) -> str:
    """Make an account for the key; its URI."""
    about = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
    try:
        return str(talk.new_account(about).uri)
    except errors.ConflictError as known:  # the key has an account there: an answer of ours was lost
        talk.net.account = messages.RegistrationResource(uri=known.location, body=messages.Registration())
        return known.location


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def _why_not_valid(error: errors.ValidationError) -> str:
    said = [
        str(one.error.detail or one.error.typ)
        for authorization in error.failed_authzrs
        for one in authorization.body.challenges
        if one.error is not None
    ]
    return f"the ACME server could not see that the domain is ours: {'; '.join(said)}"
