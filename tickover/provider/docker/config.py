"""Where the docker provider sends its calls and which registry passwords it has.

Owns: the provider's config keys, their checks, and the credentials from config or Docker's own file.
Promises: credentials are Secret in what is stored and appear in no message. Never: calls Docker.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tickover.engine.provider import CheckFailure
from tickover.engine.values import PropertyMap, Secret, Unknown, contains_unknown, reveal
from tickover.errors import ConfigError
from tickover.provider.docker.fields import needs_plugin
from tickover.provider.docker.names import registry_of

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
KEYS: Final = ("host", "registryAuth", "certPath", "disableDockerDaemonCheck")
REFUSED: Final[Mapping[str, str]] = {
    "context": "name the engine with host",
    "caMaterial": "name the folder of the certificates with certPath",
    "certMaterial": "name the folder of the certificates with certPath",
    "keyMaterial": "name the folder of the certificates with certPath",
    "sshOpts": "it speaks to unix:// and tcp:// hosts",
}
_SCHEMES: Final = ("unix://", "tcp://", "http://", "https://")


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for one registry. address: as given, with its scheme if it has one."""

    address: str
    username: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def auth(self) -> dict[str, str]:
        """The form the engine wants."""
        return {"username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True)
class Settings:
    """host: the engine's address; cert_path: folder of ca.pem, cert.pem, key.pem, or empty."""

    host: str
    cert_path: str = ""
    logins: Mapping[str, Login] = field(default_factory=dict)


def check_config(inputs: PropertyMap) -> tuple[PropertyMap, tuple[CheckFailure, ...]]:
    """The usable inputs and every bad one. A default provider is given the whole config namespace, so keys
    that nobody knows are left out without a word."""
    failures = [
        CheckFailure(key, needs_plugin(f"config docker:{key}", why))
        for key, why in REFUSED.items()
        if reveal(inputs.get(key)) not in (None, "", [])
    ]
    kept = {key: inputs[key] for key in KEYS if inputs.get(key) is not None}
    host = reveal(kept.get("host"))
    if host is not None and not isinstance(host, Unknown):
        if isinstance(host, str) and host.startswith("ssh://"):
            failures.append(CheckFailure("host", needs_plugin("a host behind ssh://")))
        elif not isinstance(host, str) or not host.startswith(_SCHEMES):
            failures.append(CheckFailure("host", f"host must begin with one of {', '.join(_SCHEMES)}."))
    if "registryAuth" in kept:
        plain = reveal(kept["registryAuth"])
        kept["registryAuth"] = Secret(plain)
        if not contains_unknown(plain):
            failures += _auth_failures(plain)
    return kept, tuple(failures)


def _entries(value: Any) -> list[dict[str, Any]] | None:
    """registryAuth as a list; programs send provider config as JSON text. None if it is no such list."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    return None


def _auth_failures(value: Any) -> list[CheckFailure]:
    entries = _entries(value)
    if entries is None:
        return [CheckFailure("registryAuth", "registryAuth must be a list of objects with an address.")]
    return [
        CheckFailure(f"registryAuth[{n}].address", f"registryAuth[{n}] needs an address.")
        for n, entry in enumerate(entries)
        if not isinstance(entry.get("address"), str) or not entry["address"]
    ]


def resolve(inputs: PropertyMap, environ: Mapping[str, str]) -> Settings:
    """What the first call needs. Raises ConfigError for a credentials file that cannot be used."""
    plain = reveal(inputs)
    logins: dict[str, Login] = {}
    for entry in _entries(plain.get("registryAuth")) or []:
        login = _login(entry, environ)
        if login is not None:
            logins[registry_of(login.address)] = login
    return Settings(
        host=plain.get("host") or environ.get("DOCKER_HOST") or DEFAULT_HOST,
        cert_path=plain.get("certPath") or environ.get("DOCKER_CERT_PATH") or "",
        logins=logins,
    )


def login_of(value: Any) -> Login:
    """The login in an ``authConfig`` input."""
    plain = reveal(value)
    return Login(plain["address"], plain.get("username") or "", plain.get("password") or "")


def _login(entry: Mapping[str, Any], environ: Mapping[str, str]) -> Login | None:
    address = str(entry["address"])
    if entry.get("authDisabled"):
        return None
    if entry.get("username"):
        return Login(address, str(entry["username"]), str(entry.get("password") or ""))
    text, where = entry.get("configFileContent"), "registryAuth.configFileContent"
    if not text:
        home = environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '~')}/.docker"
        path = Path(entry.get("configFile") or f"{home}/config.json").expanduser()
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise _bad_file(address, where, f"it cannot be read: {error.strerror}") from error
    return _from_docker_file(address, str(text), where)


def _from_docker_file(address: str, text: str, where: str) -> Login:
    """The login for address in the text of Docker's config.json."""
    try:
        content = json.loads(text)
        auths = {registry_of(key): value for key, value in content.get("auths", {}).items()}
        found = auths.get(registry_of(address))
        if found is not None and found.get("auth"):
            username, _, password = base64.b64decode(found["auth"], validate=True).decode().partition(":")
            return Login(address, username, password)
    except (ValueError, AttributeError, binascii.Error):
        # The parser's message quotes the text, which holds passwords: it is not passed on.
        raise _bad_file(address, where, "it is not Docker's JSON") from None
    kept = " A credentials helper keeps the passwords of that file." if content.get("credsStore") else ""
    raise _bad_file(address, where, f"it has no password for that registry.{kept}")


def _bad_file(address: str, where: str, why: str) -> ConfigError:
    return ConfigError(
        "registry-login",
        "Registry credentials not found",
        f"The credentials for {address} were looked for in {where}: {why.rstrip('.')}. Set username and "
        "password in docker:registryAuth, or log in.",
        where,
        f"docker login {address}",
    )
