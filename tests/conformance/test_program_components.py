"""Components used by hand: the inputs of the children they register."""

from __future__ import annotations

from tests.support.component_program import SECRET, run

HEAD = """
import pulumi
from components.domain import CustomDomain, CustomDomainArgs
from components.function import AuthArgs, GpuArgs, GpuFunction, GpuFunctionArgs
from components.idle import IdleArgs
from components.image import RegistryImage, RegistryImageArgs
from components.pool import ReservedPool, ReservedPoolArgs
from components.schedule import Schedule, ScheduleArgs, TimetableEntry
from components.service import ModelArgs, PoolArgs, VllmService, VllmServiceArgs
from components.storage import NasMount, NasMountArgs, NetworkArgs

image = RegistryImage("image", RegistryImageArgs(reference="vllm/vllm-openai:v0.32.0"))
process = RegistryImage("process", RegistryImageArgs(process=True))
"""


def test_a_function_alone() -> None:
    ran = run(
        HEAD
        + """
GpuFunction("f", GpuFunctionArgs(
    image=image, cpu=4, memory_gb=16.5, gpu=GpuArgs("fc.gpu.tesla.1", 16), entrypoint=("a",), command=("b",),
    environment={"KEEP_THIS": "1"}, max_instances=3, on_demand=True, health_path="", description="words",
    auth=AuthArgs("function"), function_name="by-hand", health_check_config={"periodSeconds": 5},
    instance_lifecycle_config={
        "initializer": {"command": ["warm", "up"], "timeout": 300}, "preStop": {"handler": "bye"},
    },
))
"""
    )
    function = ran.one("tickover:fc:Function")["inputs"]
    assert function == {
        "functionName": "by-hand",
        "runtime": "custom-container",
        "handler": "not-used",
        "description": "words",
        "cpu": 4,
        "memorySize": 16896,
        "diskSize": 512,
        "gpuConfig": {"gpuType": "fc.gpu.tesla.1", "gpuMemorySize": 16384},
        "timeout": 86400,
        "instanceConcurrency": 1,
        "disableOndemand": False,
        "customContainerConfig": {
            "image": "vllm/vllm-openai:v0.32.0",
            "port": 8000,
            "entrypoint": ["a"],
            "command": ["b"],
            "healthCheckConfig": {"periodSeconds": 5},
        },
        "environmentVariables": {"KEEP_THIS": "1"},
        "instanceLifecycleConfig": {
            "initializer": {"command": ["warm", "up"], "timeout": 300},
            "preStop": {"handler": "bye"},
        },
    }
    limit = ran.one("tickover:fc:ConcurrencyConfig")["inputs"]
    assert limit == {"functionName": "by-hand", "reservedConcurrency": 3}
    assert '"authType": "function"' in ran.one("tickover:fc:Trigger")["inputs"]["triggerConfig"]


def test_idle_settings_travel_as_variables() -> None:
    ran = run(
        HEAD
        + """
GpuFunction("f", GpuFunctionArgs(
    image=image, cpu=1, memory_gb=1, environment={"KEEP_THIS": "1"},
    idle=IdleArgs(linger_seconds=0.5, deepest="sleep", wake_ahead_seconds=60),
))
VllmService("s", VllmServiceArgs(
    model="smollm2", image=RegistryImageArgs(process=True), storage=NasMountArgs("local:/models", "/mnt"),
    pool=PoolArgs(settings=IdleArgs(max_age_seconds=86400, deep_after_seconds=1.5)),
    prefix_affinity=True,
))
"""
    )
    assert ran.one("tickover:fc:Function", "f")["inputs"]["environmentVariables"] == {
        "KEEP_THIS": "1",
        "TICKOVER_LINGER_SECONDS": "0.5",
        "TICKOVER_IDLE_DEEPEST": "sleep",
        "TICKOVER_WAKE_AHEAD_SECONDS": "60",
    }
    assert ran.one("tickover:fc:Function", "s")["inputs"]["environmentVariables"] == {
        "TICKOVER_MAX_AGE_SECONDS": "86400",
        "TICKOVER_IDLE_DEEP_AFTER_SECONDS": "1.5",
        "TICKOVER_PREFIX_AFFINITY": "on",
    }


def test_a_domain_with_all_that_fc_has() -> None:
    ran = run(
        HEAD
        + """
from components.domain import CertificateArgs, CustomDomain, CustomDomainArgs, RouteArgs
f = GpuFunction("f", GpuFunctionArgs(image=image, cpu=1, memory_gb=1))
g = GpuFunction("g", GpuFunctionArgs(image=image, cpu=1, memory_gb=1))
CustomDomain("d", CustomDomainArgs(
    "chat.example.com", f, routes=(RouteArgs("/g/*", g, ("POST",), {"wildcardRules": [
        {"match": "^/g/*", "replacement": "/$1"}]}),),
    certificate=CertificateArgs("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----"),
    protocol="HTTP,HTTPS",
    auth={"authType": "basic", "authInfo": {"users": [{"username": "u", "password": "p"}]}},
    cors={"allowOrigins": ["https://web.example.com"]},
))
"""
    )
    assert ran.error is None
    inputs = ran.one("tickover:fc:CustomDomain")["inputs"]
    assert inputs["protocol"] == "HTTP,HTTPS"
    assert [route["path"] for route in inputs["routeConfig"]["routes"]] == ["/g/*", "/*"]
    assert inputs["routeConfig"]["routes"][0]["rewriteConfig"]["wildcardRules"][0]["replacement"] == "/$1"
    assert inputs["tlsConfig"] == {"minVersion": "TLSv1.2", "maxVersion": "TLSv1.3"}
    assert inputs["corsConfig"] == {"allowOrigins": ["https://web.example.com"]}
    assert inputs["certConfig"][0] == SECRET
    hidden, auth = inputs["authConfig"]
    assert (hidden, auth["authType"]) == (SECRET, "basic")
    assert "users" in auth["authInfo"]  # FC's text


def test_a_function_that_cannot_be() -> None:
    for arguments, said in (
        ("image=process, cpu=1, memory_gb=1", "`command` is required"),
        ("image=image, cpu=0, memory_gb=1", "`cpu` is required"),
        ('image=image, cpu=1, memory_gb=1, auth=AuthArgs("bearer")', "`auth.type bearer` needs `auth.token`"),
        ('image=image, cpu=1, memory_gb=1, auth=AuthArgs("anonymous", "t0ken")',
         "`auth.type anonymous` and `auth.token` cannot both be given"),
        ('image=image, cpu=1, memory_gb=1, idle=IdleArgs(deepest="deep")',
         "TICKOVER_IDLE_DEEPEST must be none, freeze, sleep or checkpoint, but is 'deep'"),
        ('image=image, cpu=1, memory_gb=1, environment={"TICKOVER_LINGER_SECONDS": "1"}, idle=IdleArgs(2)',
         "`idle.linger_seconds` and `environment.TICKOVER_LINGER_SECONDS` cannot both be given"),
        ('image=image, cpu=1, memory_gb=1, version="three"', "`version` must be the number"),
        ("image=image, cpu=1, memory_gb=1, canary=0.1", "`version` has to say which published version"),
    ):  # fmt: skip
        ran = run(HEAD + f'GpuFunction("f", GpuFunctionArgs({arguments}))')
        assert ran.error is not None
        assert said in ran.error["text"]
        assert "t0ken" not in ran.error["text"]
        assert {r["type"] for r in ran.resources} <= {"tickover:index:RegistryImage"}


def test_a_pool_that_never_idles_keeps_its_reason_in_the_state() -> None:
    ran = run(
        HEAD
        + """
f = GpuFunction("f", GpuFunctionArgs(image=image, cpu=1, memory_gb=1))
morning = Schedule("morning", ScheduleArgs((
    TimetableEntry(3, cron="cron(0 30 8 * * *)", time_zone="Europe/Berlin", name="up"),
    TimetableEntry(2, at="2026-12-24T08:00:00", start="2026-12-01T00:00:00", end="2026-12-31T00:00:00"),
), 1))
ReservedPool("p", ReservedPoolArgs(f, 1, idle=False, reason="first byte under 100 ms", schedules=(morning,)))
"""
    )
    component = ran.one("tickover:index:ReservedPool")
    assert component["outputs"] == component["inputs"]
    assert component["outputs"]["reason"] == "first byte under 100 ms"
    pool = ran.one("tickover:fc:ProvisionConfig")
    assert pool["parent"] == "tickover:index:ReservedPool::p"
    assert pool["inputs"] == {
        "functionName": "f-dev",
        "qualifier": "live",
        "defaultTarget": 1,
        "alwaysAllocateCPU": True,
        "alwaysAllocateGPU": True,
        "scheduledActions": [
            {
                "name": "up",
                "target": 3,
                "scheduleExpression": "cron(0 30 8 * * *)",
                "timeZone": "Europe/Berlin",
            },
            {
                "name": "morning-2",
                "target": 2,
                "scheduleExpression": "at(2026-12-24T08:00:00)",
                "startTime": "2026-12-01T00:00:00",
                "endTime": "2026-12-31T00:00:00",
            },
        ],
    }


def test_a_reason_without_need_is_refused() -> None:
    ran = run(
        HEAD
        + """
f = GpuFunction("f", GpuFunctionArgs(image=image, cpu=1, memory_gb=1))
ReservedPool("p", ReservedPoolArgs(f, reason="no reason"))
"""
    )
    assert ran.error is not None
    assert "`idle` and `reason` cannot both be given" in ran.error["text"]


def test_a_service_made_by_hand_in_another_program() -> None:
    ran = run(
        HEAD.replace("from components", "from tickover.components")
        + """
service = VllmService("big", VllmServiceArgs(
    ModelArgs("big", "Big"), RegistryImageArgs(reference="a/b:v1.0"),
    NasMountArgs("nas.example:/m", "/data", NetworkArgs("vpc", ("vsw",), "sg")),
    cpu=8, memory_gb=64, gpu=GpuArgs("fc.gpu.ada.1", 96), pool=PoolArgs(2), domain="big.example.com",
))
pulumi.export("url", service.url)
"""
    )
    function = ran.one("tickover:fc:Function")["inputs"]
    assert function["functionName"] == "big-dev"
    assert function["vpcConfig"] == {"vpcId": "vpc", "vSwitchIds": ["vsw"], "securityGroupId": "sg"}
    assert "/data/big" in function["customContainerConfig"]["command"]
    assert ran.one("tickover:fc:ProvisionConfig")["inputs"]["defaultTarget"] == 2
    assert ran.outputs == {"url": "http://big.example.com"}


def test_a_domain_with_a_certificate_by_acme() -> None:
    ran = run(
        HEAD
        + """
from components.domain import AcmeArgs, CustomDomain, CustomDomainArgs
f = GpuFunction("f", GpuFunctionArgs(image=image, cpu=1, memory_gb=1))
CustomDomain("d", CustomDomainArgs("chat.example.com", f, certificate=AcmeArgs("tls-alpn-01")))
"""
    )
    assert ran.error is None
    inputs = ran.one("tickover:fc:CustomDomain")["inputs"]
    assert inputs["protocol"] == "HTTPS"
    assert inputs["certConfig"] == {"certName": "acme", "certificate": "acme://tls-alpn-01"}
