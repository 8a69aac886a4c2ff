"""Triggers and custom domains.

Owns: those two handlers. Promises: tokens and private keys stay secret. Never: checks DNS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tickover.engine.provider import CheckFailure
from tickover.engine.values import UNKNOWN, PropertyMap, Secret, reveal
from tickover.fc.domain import ACME, CustomDomain
from tickover.fc.trigger import Trigger
from tickover.provider import shape
from tickover.provider.handler import Handler


class TriggerHandler(Handler):
    """tickover:fc:Trigger."""

    token = "tickover:fc:Trigger"
    noun = "trigger"
    model = Trigger
    ids = ("functionName", "triggerName")
    replaces = frozenset({"functionName", "triggerName", "triggerType", "sourceArn"})
    stable = ("httpTrigger", "triggerId", "createdTime")
    volatile = ("lastModifiedTime", "status")
    create_operation = "create_trigger"
    get_operation = "get_trigger"
    update_operation = "update_trigger"
    delete_operation = "delete_trigger"

    def with_secrets(self, inputs: PropertyMap) -> PropertyMap:
        """A triggerConfig with credentials in it is secret as a whole; another one is worth reading."""
        config = inputs.get("triggerConfig")
        if not isinstance(config, str) or not _has_credentials(config):
            return inputs
        return {**inputs, "triggerConfig": Secret(config)}

    def only_on_host(self, known: Mapping[str, Any]) -> tuple[CheckFailure, ...]:
        try:
            config = json.loads(reveal(known.get("triggerConfig")) or "{}")
        except (ValueError, TypeError):
            return ()  # refused as what it is
        found = config.get("authConfig") if isinstance(config, dict) else None
        return _keys_by_url(found, "triggerConfig")

    def must_delete_first(self, old: PropertyMap, new: PropertyMap) -> bool:
        """A qualifier has room for one HTTP trigger, so its successor cannot stand beside it."""
        is_http = "http" in (old.get("triggerType"), new.get("triggerType"))
        shared = ("functionName", "qualifier") if is_http else self.ids
        return all(shape.same(old.get(name), new.get(name)) for name in shared)

    def preview(self, news: PropertyMap, old_outputs: PropertyMap | None = None) -> PropertyMap:
        told = super().preview(news, old_outputs)
        if old_outputs is not None and not shape.same(old_outputs.get("qualifier"), news.get("qualifier")):
            told["httpTrigger"] = UNKNOWN  # the URL names the qualifier
        return told


def _keys_by_url(config: Any, where: str) -> tuple[CheckFailure, ...]:
    """The refusal of a jwt rule with keys by URL; config: an object, or the text of one."""
    try:
        parsed = json.loads(config) if isinstance(config, str) else config
    except ValueError:
        return ()  # refused as what it is
    if not isinstance(parsed, Mapping) or not {"jwksuri", "jwks_uri"} & {
        str(name).lower() for name in parsed
    }:
        return ()
    message = (
        f"{where}.jwksUri is for a host only: Function Compute fetches no keys. Give the key set as jwks."
    )
    return (CheckFailure(where, message),)


def _has_credentials(config: str) -> bool:
    try:
        parsed = json.loads(config)
    except ValueError:
        return True  # not to be shown before somebody knows what it is
    return not isinstance(parsed, dict) or bool(parsed.get("authConfig"))


class CustomDomainHandler(Handler):
    """tickover:fc:CustomDomain."""

    token = "tickover:fc:CustomDomain"
    noun = "custom domain"
    model = CustomDomain
    ids = ("domainName",)
    replaces = frozenset({"domainName", "isE2B"})
    stable = ("accountId", "createdTime")
    volatile = ("lastModifiedTime",)
    create_operation = "create_custom_domain"
    get_operation = "get_custom_domain"
    update_operation = "update_custom_domain"
    delete_operation = "delete_custom_domain"

    def only_on_host(self, known: Mapping[str, Any]) -> tuple[CheckFailure, ...]:
        auth, config = reveal(known.get("authConfig")) or {}, reveal(known.get("certConfig"))
        keys = _keys_by_url(auth.get("authInfo"), "authConfig.authInfo") if isinstance(auth, Mapping) else ()
        if not isinstance(config, Mapping) or not str(config.get("certificate", "")).startswith(ACME):
            return keys
        message = (
            f"certConfig.certificate {ACME}… is for a host only: Function Compute gets no certificates by "
            "itself. Give the certificate and its privateKey, or use target host."
        )
        return (CheckFailure("certConfig.certificate", message), *keys)
