"""FC resources that are right, to be made wrong one property at a time."""

from __future__ import annotations

import json
from typing import Any

from tickover.fc.base import FcModel
from tickover.fc.validate import violations

CPU: dict[str, Any] = {
    "functionName": "chat-dev",
    "runtime": "custom-container",
    "handler": "not-used",
    "cpu": 2,
    "memorySize": 4096,
    "diskSize": 512,
    "customContainerConfig": {"image": "process://local", "command": ["serve"]},
}
GPU: dict[str, Any] = {
    **CPU,
    "cpu": 8,
    "memorySize": 65536,
    "gpuConfig": {"gpuType": "fc.gpu.ada.1", "gpuMemorySize": 49152},
}
TWO_CARDS = {"gpuConfig": {"gpuType": "fc.gpu.ada.1", "gpuMemorySize": 2 * 49152}}
POOL: dict[str, Any] = {"functionName": "chat-dev", "qualifier": "live", "defaultTarget": 1}
ACTION: dict[str, Any] = {"name": "day", "target": 2, "scheduleExpression": "cron(0 0 9 * * *)"}
BEARER = {"authType": "bearer", "authConfig": json.dumps({"tokens": [{"token": "sesame"}]})}
TRIGGER: dict[str, Any] = {
    "functionName": "chat-dev",
    "triggerName": "http",
    "triggerType": "http",
    "triggerConfig": json.dumps({**BEARER, "methods": ["GET", "POST"]}),
    "qualifier": "live",
}
DOMAIN: dict[str, Any] = {
    "domainName": "chat.example.test",
    "protocol": "HTTP",
    "routeConfig": {"routes": [{"path": "/*", "functionName": "chat-dev", "qualifier": "live"}]},
}
ALIAS: dict[str, Any] = {"functionName": "chat-dev", "aliasName": "live", "versionId": "3"}


def said(model: type[FcModel], wire: dict[str, Any]) -> dict[str, str]:
    """Path → message; more than one message under a path are joined."""
    found: dict[str, str] = {}
    for v in violations(model, wire):
        found[v.path] = f"{found[v.path]} {v.message}" if v.path in found else v.message
    return found


FULL = {
    **GPU,
    "customContainerConfig": {
        "image": "registry.example.test/vllm:v0.32.0",
        "command": ["serve"],
        "entrypoint": ["python3"],
        "port": 8000,
        "acrInstanceId": "cri-1",
        "registryConfig": {
            "authConfig": {"userName": "u", "password": "p"},
            "certConfig": {"insecure": True, "rootCaCertBase64": "eA=="},
            "networkConfig": {"vpcId": "vpc-1", "vSwitchId": "vsw-1", "securityGroupId": "sg-1"},
        },
        "healthCheckConfig": {
            "httpGetUrl": "/health",
            "initialDelaySeconds": 5,
            "periodSeconds": 3,
            "timeoutSeconds": 1,
            "failureThreshold": 3,
            "successThreshold": 1,
        },
    },
    "nasConfig": {
        "userId": 0,
        "groupId": 0,
        "mountPoints": [{"serverAddr": "x.nas.aliyuncs.com:/m", "mountDir": "/mnt/m", "enableTLS": True}],
    },
    "ossMountConfig": {"mountPoints": [{"bucketName": "bucket", "mountDir": "/mnt/oss", "readOnly": True}]},
    "vpcConfig": {"vpcId": "vpc-1", "vSwitchIds": ["vsw-1"], "securityGroupId": "sg-1"},
    "customDNS": {"nameServers": ["10.0.0.1"], "dnsOptions": [{"name": "ndots", "value": "1"}]},
    "instanceLifecycleConfig": {"initializer": {"command": ["warm"], "timeout": 300}},
    "logConfig": {"project": "p", "logstore": "l", "enableLlmMetrics": True},
    "tags": [{"Key": "team", "Value": "a"}],
    "tracingConfig": {"type": "Jaeger", "params": {"endpoint": "http://x"}},
}
