"""A bucket's URL, as the Pulumi CLI takes it, made into a store.

Owns: the schemes, and which parameters and environment variables count. Promises: opens no connection; a
parameter that it does not know is refused rather than ignored. Never: keeps a credential in the URL.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from tickover.engine.stores.bucket import BucketStore
from tickover.errors import ConfigError

_TRUE: Final = frozenset({"1", "true", "t", "yes"})
# What the CLI's storage library knows of; those beyond what is used here change nothing about where it is.
_S3: Final = frozenset(
    [
        "region",
        "endpoint",
        "s3ForcePathStyle",
        "use_path_style",
        "disableSSL",
        "disable_https",
        "hostname_immutable",
        "awssdk",
        "profile",
        "anonymous",
        "request_checksum_calculation",
        "response_checksum_validation",
    ]
)
_GS: Final = frozenset({"anonymous", "access_id"})
_AZURE: Final = frozenset({"storage_account", "domain", "protocol", "localemu"})
_KNOWN: Final = {"s3": _S3, "gs": _GS, "azblob": _AZURE}
_CLIENT: Final[dict[str, Any]] = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=30)}
_RETRY: Final[dict[str, Any]] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2
    },
}  # fmt: skip


def open_bucket(url: str, env: Mapping[str, str]) -> BucketStore:
    """The store at url. Raises ConfigError for what cannot be one."""
    parts = urlsplit(url)
    known = _KNOWN[parts.scheme]
    query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if not parts.netloc:
        raise ConfigError(
            "backend-url", "State back end has no bucket", f"{parts.scheme}:// names no bucket."
        )
    if strange := sorted(set(query) - known):
        raise ConfigError(
            "backend-url",
            "Parameter of the state's URL unknown",
            f"{parts.scheme}://{parts.netloc}: {', '.join(strange)}. Known: {', '.join(sorted(known))}.",
        )
    prefix = unquote(parts.path).strip("/")
    try:
        made = _MAKERS[parts.scheme](parts, query, env, prefix or None)
    except BaseError as error:
        why = str(error).partition("\n")[0]
        raise ConfigError(
            "backend-url", "State's bucket cannot be used", f"{parts.scheme}://{parts.netloc}: {why}."
        ) from None
    where = f"{parts.scheme}://{parts.netloc}" + (f"/{prefix}" if prefix else "")
    return BucketStore(made, url, where, parts.netloc)


def _s3(parts: SplitResult, query: dict[str, str], env: Mapping[str, str], prefix: str | None) -> ObjectStore:
    plain = _on(query, "disableSSL", "disable_https")
    endpoint = query.get("endpoint") or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""
    if endpoint and "://" not in endpoint:
        endpoint = f"{'http' if plain else 'https'}://{endpoint}"
    profile = _profile(query.get("profile") or env.get("AWS_PROFILE", ""), env)
    config: dict[str, Any] = {
        "region": query.get("region") or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
        or profile.get("region") or "us-east-1",
    }  # fmt: skip
    names = ("access_key_id", "secret_access_key", "session_token")
    source = {n: env[f"AWS_{n.upper()}"] for n in names if env.get(f"AWS_{n.upper()}")}
    if "access_key_id" not in source or query.get("profile"):
        source = {n: profile[f"aws_{n}"] for n in names if f"aws_{n}" in profile} or source
    config |= source
    if endpoint:
        config["endpoint"] = endpoint
        config["virtual_hosted_style_request"] = not _on(query, "s3ForcePathStyle", "use_path_style")
        if config["virtual_hosted_style_request"]:
            scheme, _, host = endpoint.partition("://")
            config["endpoint"] = f"{scheme}://{parts.netloc}.{host}"
    if _on(query, "anonymous"):
        config["skip_signature"] = True
    client = _CLIENT | {"allow_http": plain or endpoint.startswith("http://")}
    options: dict[str, Any] = {"config": config, "client_options": client, "retry_config": _RETRY}
    return S3Store(parts.netloc, prefix=prefix, **options)


def _gs(parts: SplitResult, query: dict[str, str], env: Mapping[str, str], prefix: str | None) -> ObjectStore:
    config: dict[str, Any] = {}
    if named := env.get("GOOGLE_APPLICATION_CREDENTIALS"):
        config["application_credentials"] = named
    if _on(query, "anonymous"):
        config["skip_signature"] = True
    options: dict[str, Any] = {"config": config, "client_options": _CLIENT, "retry_config": _RETRY}
    return GCSStore(parts.netloc, prefix=prefix, **options)


def _azure(
    parts: SplitResult, query: dict[str, str], env: Mapping[str, str], prefix: str | None
) -> ObjectStore:
    account = query.get("storage_account") or env.get("AZURE_STORAGE_ACCOUNT")
    config: dict[str, Any] = {"account_name": account} if account else {}
    if key := env.get("AZURE_STORAGE_KEY"):
        config["account_key"] = key
    if token := env.get("AZURE_STORAGE_SAS_TOKEN"):
        config["sas_key"] = token
    if domain := query.get("domain") or env.get("AZURE_STORAGE_DOMAIN"):
        config["endpoint"] = f"{query.get('protocol') or 'https'}://{account}.{domain}"
    if _on(query, "localemu"):
        config["use_emulator"] = True
    client = _CLIENT | {"allow_http": query.get("protocol") == "http" or _on(query, "localemu")}
    options: dict[str, Any] = {"config": config, "client_options": client, "retry_config": _RETRY}
    return AzureStore(parts.netloc, prefix=prefix, **options)


_MAKERS: Final = {"s3": _s3, "gs": _gs, "azblob": _azure}


def _on(query: Mapping[str, str], *names: str) -> bool:
    return any(query.get(name, "").lower() in _TRUE for name in names)


def _profile(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """The keys and the region of a profile in the files of the AWS tools; empty if there is none."""
    folder = Path(env.get("HOME") or Path.home()) / ".aws"
    found: dict[str, str] = {}
    files = (
        (Path(env.get("AWS_CONFIG_FILE") or folder / "config"), f"profile {name}" if name else "default"),
        (Path(env.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials"), name or "default"),
    )
    for path, section in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, "utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                "bad-credentials",
                "AWS profiles cannot be read",
                f"{path}: {type(error).__name__}.",
                str(path),
            ) from None
        if parser.has_section(section):
            found |= dict(parser.items(section))
    if name and not found:
        raise ConfigError("no-profile", "AWS profile does not exist", f"{folder} has no profile {name!r}.")
    return found
