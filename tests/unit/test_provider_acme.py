"""A certificate by ACME is a host's: the cloud refuses it at the preview."""

from __future__ import annotations

import asyncio

import pytest

from tickover.engine.provider import CheckRequest, ConfigureRequest
from tickover.provider.provider import TickoverProvider

URN = "urn:pulumi:dev::tickover::tickover:fc:CustomDomain::d"
NEWS = {
    "domainName": "chat.example.com",
    "protocol": "HTTPS",
    "certConfig": {"certName": "acme", "certificate": "acme://http-01"},
    "routeConfig": {"routes": [{"path": "/*", "functionName": "f"}]},
}


@pytest.mark.parametrize(("target", "refused"), [("host", []), ("cloud", ["certConfig.certificate"])])
def test_acme_is_for_a_host_only(target: str, refused: list[str]) -> None:
    async def scenario() -> list[str]:
        provider = TickoverProvider(lambda *_, **__: None)
        await provider.configure(ConfigureRequest({"target": target}))
        return [f.property for f in (await provider.check(CheckRequest(URN, None, NEWS))).failures]

    assert asyncio.run(scenario()) == refused
