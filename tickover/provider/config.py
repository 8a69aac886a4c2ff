"""Where provider "tickover" sends its calls and as whom.

Owns: the provider's config keys, their checks and where missing values come from. Promises: pure but for
reading the host's two files; preview never needs a credential; a secret appears in no message. Never:
calls FC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tickover.engine.provider import CheckFailure
from tickover.engine.values import PropertyMap, Secret, Unknown, reveal
from tickover.errors import Exit, TickoverError
from tickover.fc.client import Connection
from tickover.paths import host_dir

KEYS = ("target", "endpoint", "accessKeyId", "accessKeySecret", "region", "accountId")
SECRET_KEYS = frozenset({"accessKeySecret"})
TARGETS = ("host", "cloud")
START_HINT = "tickover host start"


def check_config(inputs: PropertyMap) -> tuple[PropertyMap, tuple[CheckFailure, ...]]:
    """The usable inputs and every bad one.

    A default provider is given the whole config namespace, so keys that are not ours are the program's
    and are left out without a word.
    """
    failures: list[CheckFailure] = []
    kept: PropertyMap = {}
    for key in KEYS:
        value = inputs.get(key)
        plain = reveal(value)
        if plain is None:
            continue
        if isinstance(plain, int) and not isinstance(plain, bool):
            plain = str(plain)
        if not isinstance(plain, str | Unknown):
            failures.append(CheckFailure(key, f"{key} must be text."))
            continue
        kept[key] = Secret(plain) if key in SECRET_KEYS or isinstance(value, Secret) else plain
    target = reveal(kept.get("target", "host"))
    if not isinstance(target, Unknown) and target not in TARGETS:
        failures.append(CheckFailure("target", f'target is "{target}"; it must be host or cloud.'))
    if target == "cloud" and not kept.get("region") and not kept.get("endpoint"):
        failures.append(CheckFailure("region", "target cloud needs a region, for example cn-hangzhou."))
    return kept, tuple(failures)


def resolve(inputs: PropertyMap, home: Path | None, environ: Mapping[str, str]) -> Connection:
    """The connection for the first call. Raises TickoverError when something needed is missing."""
    given = {k: v for k, v in reveal(inputs).items() if k in KEYS and isinstance(v, str) and v}
    return _cloud(given, environ) if given.get("target") == "cloud" else _host(given, home)


def _host(given: Mapping[str, str], home: Path | None) -> Connection:
    folder = host_dir(home) if home is not None else None
    endpoint = given.get("endpoint") or str(_read(folder, "host.json").get("url", ""))
    if not endpoint:
        raise not_running("No host has been started for this project.")
    secrets: Mapping[str, Any] = given
    if not ("accessKeyId" in given and "accessKeySecret" in given):
        kept = _read(folder, "credentials.json")
        secrets = {
            "accessKeyId": kept.get("access_key_id", ""),
            "accessKeySecret": kept.get("access_key_secret", ""),
            "region": kept.get("region", ""),
        } | dict(given)
    if not secrets.get("accessKeyId") or not secrets.get("accessKeySecret"):
        raise _no_credentials(f"The host at {endpoint} needs an access key and none was found.", START_HINT)
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    return Connection(
        endpoint=endpoint,
        access_key_id=str(secrets["accessKeyId"]),
        access_key_secret=str(secrets["accessKeySecret"]),
        region=str(secrets.get("region") or "local"),
    )


def _cloud(given: Mapping[str, str], environ: Mapping[str, str]) -> Connection:
    key = given.get("accessKeyId") or environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID", "")
    secret = given.get("accessKeySecret") or environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "")
    if not key or not secret:
        raise _no_credentials(
            "Calls to Alibaba Cloud need an access key and none was found.",
            "export ALIBABA_CLOUD_ACCESS_KEY_ID=… ALIBABA_CLOUD_ACCESS_KEY_SECRET=…",
        )
    region, account = given.get("region", ""), given.get("accountId", "")
    built = f"{account}.{region}.fc.aliyuncs.com" if account else f"fcv3.{region}.aliyuncs.com"
    # A temporary token belongs to the key it came with.
    token = "" if "accessKeyId" in given else environ.get("ALIBABA_CLOUD_SECURITY_TOKEN", "")
    return Connection(given.get("endpoint") or built, key, secret, region, token)


def not_running(detail: str) -> TickoverError:
    """The error for a host that does not answer."""
    return TickoverError("host-not-running", "Host is not running", detail, hint=START_HINT)


def _no_credentials(detail: str, hint: str) -> TickoverError:
    return TickoverError("no-credentials", "No credentials", detail, "", hint, Exit.AUTHENTICATION)


def _read(folder: Path | None, name: str) -> dict[str, Any]:
    """A JSON object in the host's folder; empty if there is none."""
    if folder is None:
        return {}
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TickoverError(
            "host-file-unreadable", "Host file cannot be read", f"{name} of the host: {error}."
        ) from error
    return found if isinstance(found, dict) else {}
