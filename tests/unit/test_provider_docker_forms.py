"""A container's inputs as the engine wants them, and the engine's answer as inputs and outputs."""

from __future__ import annotations

import pytest

from tickover.engine.values import Secret
from tickover.provider.docker.container_body import create_body, nanoseconds, update_body
from tickover.provider.docker.container_read import drifted, imported, outputs
from tickover.provider.docker.storage import network_body, network_outputs

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "number"),
    [("0s", 0), ("0", 0), ("500ms", 500_000_000), ("1m30s", 90_000_000_000), ("1.5h", 5_400_000_000_000)],
)
def test_durations_become_nanoseconds(text, number):
    assert nanoseconds(text) == number


def test_what_is_not_said_is_not_sent():
    assert create_body({"image": "a", "restart": "no", "tty": False}) == {
        "Image": "a",
        "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
    }


@pytest.mark.parametrize(
    ("inputs", "key", "sent"),
    [
        ({"gpus": "all"}, "DeviceRequests", [{"Count": -1, "Capabilities": [["gpu"]]}]),
        (
            {
                "deviceRequests": [
                    {"driver": "nvidia", "deviceIds": ["0"], "capabilities": ["gpu", "compute"]}
                ]
            },
            "DeviceRequests",
            [{"Driver": "nvidia", "DeviceIDs": ["0"], "Capabilities": [["gpu", "compute"]]}],
        ),
        ({"cpus": "1.5", "cpuPeriod": 5}, "NanoCpus", 1_500_000_000),
        ({"memorySwap": -1}, "MemorySwap", -1),
        ({"memorySwap": 10}, "MemorySwap", 10 * MIB),
        ({"memoryReservation": 10}, "MemoryReservation", 10 * MIB),
        ({"init": False}, "Init", False),
        ({"networkMode": "host"}, "NetworkMode", "host"),
        ({"networksAdvanced": [{"name": "n"}]}, "NetworkMode", "n"),
        ({"networkMode": "none", "networksAdvanced": [{"name": "n"}]}, "NetworkMode", "none"),
        (
            {"devices": [{"hostPath": "/dev/fuse"}]},
            "Devices",
            [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}],
        ),
        (
            {"volumes": [{"hostPath": "/a", "containerPath": "/b", "readOnly": True, "selinuxRelabel": "z"}]},
            "Binds",
            ["/a:/b:ro,z"],
        ),
        ({"volumes": [{"fromContainer": "c", "readOnly": True}]}, "VolumesFrom", ["c:ro"]),
        (
            {
                "mounts": [
                    {"target": "/t", "type": "volume", "source": "v", "volumeOptions": {"noCopy": True}}
                ]
            },
            "Mounts",
            [{"Target": "/t", "Type": "volume", "Source": "v", "VolumeOptions": {"NoCopy": True}}],
        ),
        (
            {"restart": "always", "maxRetryCount": 3},
            "RestartPolicy",
            {"Name": "always", "MaximumRetryCount": 0},
        ),
        (
            {"ports": [{"internal": 80, "external": 0, "ip": "", "protocol": "udp"}]},
            "PortBindings",
            {"80/udp": [{"HostIp": "", "HostPort": ""}]},
        ),
    ],
)
def test_inputs_reach_the_host_config(inputs, key, sent):
    assert create_body({"image": "a", **inputs})["HostConfig"][key] == sent


def test_inputs_reach_the_config():
    body = create_body(
        {
            "image": "a",
            "stopTimeout": 0,
            "volumes": [{"containerPath": "/anon"}],
            "healthcheck": {"tests": ["CMD", "x"], "interval": "1s", "timeout": "0s", "retries": 0},
            "networksAdvanced": [
                {
                    "name": "n",
                    "aliases": ["x"],
                    "ipv4Address": "10.0.0.2",
                    "driverOpts": ["a=b"],
                    "macAddress": "m",
                }
            ],
        }
    )
    assert body["StopTimeout"] == 0 and body["Volumes"] == {"/anon": {}}
    assert body["Healthcheck"] == {"Test": ["CMD", "x"], "Interval": 10**9}
    assert body["NetworkingConfig"]["EndpointsConfig"]["n"] == {
        "Aliases": ["x"],
        "MacAddress": "m",
        "DriverOpts": {"a": "b"},
        "IPAMConfig": {"IPv4Address": "10.0.0.2"},
    }


def test_memory_moves_together_with_the_swap_that_the_engine_set():
    body = update_body({"memory": 10, "cpus": "2"}, {"HostConfig": {"MemorySwap": 99}})
    assert body["MemorySwap"] == 20 * MIB and "NanoCpus" not in body
    assert update_body({"memory": 10}, {"HostConfig": {"MemorySwap": -1}})["MemorySwap"] == -1
    assert update_body({"memory": 10, "memorySwap": 11}, {})["MemorySwap"] == 11 * MIB
    assert "MemorySwap" not in update_body({"cpuShares": 5}, {})


def shown(**changes):
    host = {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, **changes.pop("host", {})}
    return {
        "Name": "/web",
        "Image": "sha256:aa",
        "State": {"Running": True, "Status": "running"},
        "Config": {"Image": "app:1", "Env": ["PATH=/bin"], "Cmd": None, "Labels": None},
        "HostConfig": host,
        "NetworkSettings": {"Networks": {"n": {"NetworkID": "id-of-n", "IPAddress": "10.0.0.2"}}},
        **changes,
    }


BASE = {"image": "app:1", "name": "web", "restart": "no", "mustRun": True, "start": True}


@pytest.mark.parametrize(
    ("inputs", "changes", "drift"),
    [
        ({}, {}, {}),
        ({"image": "sha256:aa"}, {}, {}),
        ({"image": "alias:1"}, {}, {}),
        ({"image": "other:1"}, {"Image": "sha256:bb"}, {"image": "app:1"}),
        ({}, {"Name": "/renamed"}, {"name": "renamed"}),
        ({}, {"host": {"Memory": 5 * MIB}}, {"memory": 5}),
        ({"memory": 5}, {}, {"memory": None}),
        ({"memory": 5}, {"host": {"Memory": 5 * MIB, "MemorySwap": 10 * MIB}}, {}),
        ({"memorySwap": 9}, {"host": {"MemorySwap": 10 * MIB}}, {"memorySwap": 10}),
        ({"maxRetryCount": 3}, {}, {}),
        ({}, {"State": {"Running": False, "Status": "exited"}}, {"mustRun": False}),
        ({"mustRun": False}, {"State": {"Running": False}}, {}),
        ({"start": False}, {"State": {"Running": False}}, {}),
        ({}, {"State": {"Running": False, "Restarting": True}}, {}),
        ({"networksAdvanced": [{"name": "n"}, {"name": "m"}]}, {}, {"networksAdvanced": [{"name": "n"}]}),
        ({"networksAdvanced": [{"name": "id-of-n"}]}, {}, {}),
    ],
)
def test_drift_is_what_a_container_can_change_while_it_stays_itself(inputs, changes, drift):
    declared = {**BASE, **inputs}
    now = drifted(declared, shown(**changes), frozenset({"sha256:aa"}))
    expected = {k: v for k, v in {**declared, **drift}.items() if v is not None}
    assert now == expected


def test_outputs_keep_secrets_and_tell_the_ports_that_the_engine_chose():
    live = shown()
    live["NetworkSettings"]["Ports"] = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}]}
    given = {
        **BASE,
        "envs": [Secret("A=1")],
        "ports": [{"internal": 80, "protocol": "tcp", "__defaults": []}],
    }
    found = outputs(given, live)
    assert found["envs"] == [Secret("A=1")] and found["image"] == "sha256:aa"
    assert found["ports"] == [{"internal": 80, "protocol": "tcp", "external": 49153}]
    assert found["networkDatas"][0]["networkName"] == "n" and "exitCode" not in found
    ended = outputs(BASE, shown(State={"Running": False, "Status": "exited", "ExitCode": 9}))
    assert ended["exitCode"] == 9
    assert "exitCode" not in outputs(BASE, shown(State={"Running": False, "Status": "created"}))


def test_an_import_leaves_out_what_the_image_says():
    live = shown(
        Config={
            "Image": "app:1",
            "Env": ["PATH=/bin", "A=1"],
            "Cmd": ["serve"],
            "Entrypoint": ["/x"],
            "Labels": {"own": "1", "base": "2"},
        },
        host={
            "NetworkMode": "n",
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "53/udp": None},
            "Binds": ["data:/d:ro"],
            "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}],
        },
    )
    base = {"Config": {"Env": ["PATH=/bin"], "Cmd": ["serve"], "Labels": {"base": "2"}}}
    assert imported(live, base) == {
        "image": "app:1",
        "name": "web",
        "entrypoints": ["/x"],
        "envs": ["A=1"],
        "labels": [{"label": "own", "value": "1"}],
        "ports": [{"internal": 80, "protocol": "tcp", "external": 8080}],
        "volumes": [{"volumeName": "data", "containerPath": "/d", "readOnly": True}],
        "networksAdvanced": [{"name": "n"}],
        "gpus": "all",
    }


def test_networks_go_out_and_come_back():
    inputs = {
        "name": "n",
        "driver": "bridge",
        "internal": True,
        "ipamDriver": "default",
        "ipamConfigs": [{"subnet": "10.0.0.0/24", "auxAddress": {"a": "10.0.0.9"}}],
        "options": {"o": "1"},
    }
    body = network_body(inputs)
    assert body["CheckDuplicate"] is True and body["IPAM"]["Config"] == [
        {"Subnet": "10.0.0.0/24", "AuxiliaryAddresses": {"a": "10.0.0.9"}}
    ]
    found = network_outputs({**body, "Scope": "local"})
    assert found == {
        "driver": "bridge",
        "internal": True,
        "options": {"o": "1"},
        "scope": "local",
        "ipamConfigs": [{"subnet": "10.0.0.0/24", "auxAddress": {"a": "10.0.0.9"}}],
    }
