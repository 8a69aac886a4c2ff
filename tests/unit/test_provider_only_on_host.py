"""What only a host does is refused by the cloud at the preview: certificates by ACME, keys of jwt by URL,
processes, folders and volumes of the host."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tickover.engine.provider import CheckRequest, ConfigureRequest
from tickover.engine.values import Secret
from tickover.provider.provider import TickoverProvider

DOMAIN = {
    "domainName": "chat.example.com",
    "routeConfig": {"routes": [{"path": "/*", "functionName": "f"}]},
}
ACME = {"protocol": "HTTPS", "certConfig": {"certName": "acme", "certificate": "acme://http-01"}}
BY_URL = {"jwksUri": "https://login.example.com/keys", "tokenLookup": "query:t"}
TRIGGER = {"functionName": "f", "triggerName": "http", "triggerType": "http"}


def function(image: str, *addresses: str) -> dict[str, Any]:
    points = [{"serverAddr": a, "mountDir": f"/mnt/{n}"} for n, a in enumerate(addresses)]
    network = {"vpcId": "vpc-1", "vSwitchIds": ["vsw-1"], "securityGroupId": "sg-1"}
    return {
        "functionName": "f",
        "runtime": "custom-container",
        "handler": "not-used",
        "cpu": 1,
        "memorySize": 1024,
        "diskSize": 512,
        "vpcConfig": network,
        "customContainerConfig": {"image": image},
        "nasConfig": {"userId": 0, "groupId": 0, "mountPoints": points},
    }


def jwt_domain() -> dict[str, Any]:
    return {**DOMAIN, "authConfig": Secret({"authType": "jwt", "authInfo": json.dumps(BY_URL)})}


def jwt_trigger() -> dict[str, Any]:
    return {**TRIGGER, "triggerConfig": json.dumps({"authType": "jwt", "authConfig": json.dumps(BY_URL)})}


@pytest.mark.parametrize(
    ("kind", "news", "refused"),
    [
        ("CustomDomain", {**DOMAIN, **ACME}, ["certConfig.certificate"]),
        ("CustomDomain", jwt_domain(), ["authConfig.authInfo"]),
        ("CustomDomain", DOMAIN, []),
        ("Trigger", jwt_trigger(), ["triggerConfig"]),
        ("Function", function("app:1", "abc.cn-hangzhou.nas.aliyuncs.com:/models"), []),
        (
            "Function",
            function("process://local", "abc.cn-hangzhou.nas.aliyuncs.com:/m", "local:/m", "volume:/m"),
            [
                "customContainerConfig.image",
                "nasConfig.mountPoints[1].serverAddr",
                "nasConfig.mountPoints[2].serverAddr",
            ],
        ),
    ],
)
def test_what_only_a_host_does(kind: str, news: dict[str, Any], refused: list[str]) -> None:
    async def failures(target: str) -> list[str]:
        provider = TickoverProvider(lambda *_, **__: None)
        await provider.configure(ConfigureRequest({"target": target}))
        urn = f"urn:pulumi:dev::tickover::tickover:fc:{kind}::d"
        return [f.property for f in (await provider.check(CheckRequest(urn, None, news))).failures]

    assert asyncio.run(failures("host")) == []
    assert asyncio.run(failures("cloud")) == refused
