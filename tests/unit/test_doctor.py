"""What the facts of a machine mean, and how they are found out where something hangs."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from dataclasses import replace

import pytest

from tickover.doctor import gather
from tickover.doctor.checks import Status, document, is_good, judge
from tickover.doctor.facts import (
    CardsFact,
    CgroupFact,
    CudaFact,
    DriverFact,
    EngineFact,
    Facts,
    HomeFact,
    HostFact,
    MountFact,
    Need,
    NfsFact,
    PackagesFact,
    PortFact,
    PythonFact,
    Silent,
    Trial,
)
from tickover.host.store import Store

TIMES = {"lock": 0.001, "checkpoint": 0.355, "restore": 0.195, "unlock": 0.002}
GOOD = Facts(
    host=HostFact(7, "http://127.0.0.1:9797", "0.1.0"),
    python=PythonFact((3, 11, 7), "/usr/bin/python3"),
    packages=PackagesFact("0.1.0", {"pulumi": "3.272.0"}),
    home=HomeFact("/home/me/p/.tickover", "", 50 << 30),
    port=PortFact(9797, is_free=False, holder="process 7 (host)", is_ours=True),
    driver=DriverFact("580.159.04"),
    cuda=CudaFact(True, "", "13.0", True, 1, Trial(TIMES)),
    cards=CardsFact(("GPU 0: NVIDIA H100, 80 GB",)),
    cgroups=CgroupFact({"tree": 2, "memory": 2, "cpu": 2}, {"tree": "", "memory": "", "cpu": ""}),
    mounts=MountFact(),
    engine=EngineFact("unix:///var/run/docker.sock", "28.2.2"),
    nfs=NfsFact("/sbin/mount.nfs", has_kernel=True),
    needs=frozenset(Need),
)
CPU_ONLY = replace(
    GOOD,
    driver=DriverFact(""),
    cuda=CudaFact(False, "libcuda.so.1 is not there"),
    cards=CardsFact((), "the NVIDIA driver is not installed"),
    needs=frozenset({Need.PROCESS}),
)


def line(facts, name):
    return next(check for check in judge(facts) if check.name == name)


def states(facts):
    return {check.name: check.status.value for check in judge(facts)}


def test_on_a_good_machine_all_is_well():
    checks = judge(GOOD)
    assert {check.status for check in checks} == {Status.OK} and is_good(checks)
    assert len({check.name for check in checks}) == len(checks) == 14
    assert line(GOOD, "CUDA checkpoint").found == (
        "a small process went and came back with its memory: "
        "lock 1 ms, checkpoint 355 ms, restore 195 ms, unlock 2 ms"
    )


def test_a_machine_without_a_gpu_lacks_it_and_is_good_all_the_same():
    assert is_good(judge(CPU_ONLY))
    lacking = {name for name, state in states(CPU_ONLY).items() if state == "missing"}
    assert lacking == {"NVIDIA driver", "CUDA library", "cards (NVML)", "CUDA checkpoint"}
    driver = line(CPU_ONLY, "NVIDIA driver")
    assert "served on the processor" in driver.instead and "apt-get install nvidia-driver" in driver.remedy
    assert line(CPU_ONLY, "CUDA library").remedy == ""  # said once


def test_a_gpu_function_makes_the_same_lack_a_failure():
    checks = judge(replace(CPU_ONLY, needs=frozenset({Need.GPU})))
    failing = {check.name for check in checks if check.fails}
    assert failing == {"NVIDIA driver", "CUDA library", "cards (NVML)"} and not is_good(checks)


@pytest.mark.parametrize(
    ("name", "changes", "status", "found", "help"),
    [
        ("host", {"host": HostFact()}, "missing", "not running", "tickover host start"),
        ("functions", {"needs": Silent("disk I/O error")}, "broken", "disk I/O error", "host start"),
        ("python", {"python": PythonFact((3, 10, 2), "p")}, "broken", "3.10.2", "make setup"),
        (
            "packages",
            {"packages": PackagesFact("0.1.0", {}, ("uvloop",))},
            "broken",
            "without uvloop",
            "make",
        ),
        ("data home", {"home": HomeFact("")}, "missing", "no project here", "tickover -C DIR"),
        (
            "data home",
            {"home": HomeFact("/p", "it cannot be written", 9)},
            "broken",
            "cannot be",
            "TICKOVER_HOME",
        ),
        ("data home", {"home": HomeFact("/p", "", 100 << 20)}, "broken", "0.1 GB free", "df -h /p"),
        ("port", {"port": PortFact(9797, True)}, "ok", "9797 is free", ""),
        ("port", {"port": PortFact(9797, False, "process 3 (nc)")}, "fallback", "process 3 (nc)", "--port"),
        ("NVIDIA driver", {"driver": DriverFact("550.54.15")}, "fallback", "no checkpoint", "570"),
        ("NVIDIA driver", {"driver": DriverFact("")}, "broken", "module is not loaded", "modprobe nvidia"),
        (
            "CUDA library",
            {"cuda": CudaFact(True, "cuInit: CUDA_ERROR_UNKNOWN")},
            "broken",
            "cuInit",
            "nvidia-smi",
        ),
        ("CUDA checkpoint", {"cuda": CudaFact(True, "", "12.4")}, "fallback", "no cuCheckpoint", "570"),
        ("CUDA checkpoint", {"cuda": CudaFact(True, "", "13.0", True)}, "missing", "no card to try", ""),
        (
            "CUDA checkpoint",
            {"cuda": CudaFact(True, "", "13.0", True, 1, Trial({}, "lock of process 5 failed"))},
            "fallback",
            "lock of process 5 failed",
            "nvidia-smi",
        ),
        (
            "CUDA checkpoint",
            {"cuda": CudaFact(True, "", "13.0", True, 1, Silent("the trial hung"))},
            "fallback",
            "the trial hung",
            "nvidia-smi",
        ),
        ("cards (NVML)", {"cards": Silent("no answer within 65 s")}, "broken", "no answer", "nvidia-smi"),
        (
            "mount namespaces",
            {"mounts": MountFact("unshare: not permitted")},
            "fallback",
            "unshare",
            "sysctl",
        ),
        (
            "Docker engine",
            {"engine": EngineFact("unix:///x", "", "it does not answer")},
            "missing",
            "does not answer",
            "systemctl start docker",
        ),
        ("NFS client", {"nfs": NfsFact("", has_kernel=True)}, "missing", "mount.nfs", "nfs-common"),
        ("NFS client", {"nfs": NfsFact("/x", has_kernel=False)}, "missing", "kernel", "modprobe nfs"),
    ],
)
def test_what_is_not_as_it_should_be_says_what_helps(name, changes, status, found, help):
    check = line(replace(GOOD, **changes), name)
    assert check.status.value == status
    assert found in check.found and help in check.remedy


def test_limits_that_cannot_be_had_are_told_with_the_reason_once():
    fact = CgroupFact({"tree": 1}, {"tree": "", "memory": "not delegated", "cpu": "not delegated"})
    check = line(replace(GOOD, cgroups=fact), "cgroups")
    assert check.status is Status.FALLBACK
    assert check.found == "tree by v1; not memory, cpu: not delegated"
    assert check.instead == "memorySize is not enforced for processes; cpu is not enforced for processes"
    assert "Delegate=yes" in check.remedy and "TICKOVER_CGROUP" in check.remedy


@pytest.mark.parametrize("need", [None, Need.CONTAINER])
def test_an_engine_that_is_away_fails_only_what_has_containers(need):
    needs = frozenset({need} if need else ())
    checks = judge(replace(GOOD, engine=EngineFact("unix:///x", "", "away"), needs=needs))
    assert is_good(checks) is (need is None)


@pytest.mark.parametrize(
    "name", [field for field in Facts.__dataclass_fields__ if field not in ("python", "needs")]
)
def test_what_could_not_be_found_out_is_said_and_not_guessed(name):
    checks = judge(replace(GOOD, **{name: Silent("no answer within 5 s")}))
    assert any("no answer within 5 s" in check.found and check.status is Status.BROKEN for check in checks)


def test_the_document_holds_every_line():
    found = json.loads(json.dumps(document(judge(CPU_ONLY), CPU_ONLY)))
    assert found["ok"] is True and found["needs"] == ["process"]
    assert found["checks"][0] == {
        "name": "host",
        "status": "ok",
        "found": "runs at http://127.0.0.1:9797 (pid 7, version 0.1.0)",
        "instead": "",
        "remedy": "",
        "needed": False,
    }


# -- looking -----------------------------------------------------------------------------------------------


def test_needs_are_those_of_the_functions():
    process = {"customContainerConfig": {"image": "process://local"}}
    container = {
        "customContainerConfig": {"image": "vllm/vllm-openai"},
        "gpuConfig": {"gpuType": "fc.gpu.ada.1"},
    }
    assert gather.needs_of([]) == frozenset() == gather.needs_of([{}])
    assert gather.needs_of([process]) == {Need.PROCESS}
    assert gather.needs_of([process, container]) == frozenset(Need)


def test_what_is_declared_is_read_beside_a_running_host(tmp_path):
    assert gather.declared_needs(None) == gather.declared_needs(tmp_path) == frozenset()
    (tmp_path / "host").mkdir()
    path = tmp_path / "host/host.db"
    sqlite3.connect(path).close()
    path.touch()
    assert gather.declared_needs(tmp_path) == frozenset()
    store = Store(path)
    body = json.dumps({"customContainerConfig": {"image": "process://local"}})
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO declared VALUES ('function', '', 'chat', ?, '{}', 1, 1)", (body,))
    connection.close()
    assert gather.declared_needs(tmp_path) == {Need.PROCESS}
    store.close()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Tue Sep  9 2026\nGCC: 613.2.0",
            "580.159.04",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build", "570.86.15"),
        ("something else", ""),
        (None, ""),
    ],
)
def test_the_drivers_version_is_that_of_its_module(tmp_path, text, version):
    if text is not None:
        (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
        (tmp_path / "proc/driver/nvidia/version").write_text(text)
    assert gather.look_at_driver(tmp_path) == DriverFact(version)


def test_a_port_is_free_or_somebodys(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        number = other.getsockname()[1]
        (tmp_path / "host").mkdir()
        (tmp_path / "host/port").write_text(f"{number}\n")
        other.listen()
        taken = gather.look_at_port(tmp_path)
        assert (taken.port, taken.is_free, taken.is_ours) == (number, False, False)
        assert f"process {os.getpid()} " in taken.holder
    assert gather.look_at_port(tmp_path) == PortFact(number, is_free=True)


def test_a_home_that_does_not_exist_yet_is_judged_by_what_does(tmp_path):
    found = gather.look_at_home(tmp_path / "not/there")
    assert found.path == str(tmp_path / "not/there") and found.trouble == "" and found.free_bytes > 0
    assert not (tmp_path / "not").exists()


def test_a_look_that_hangs_is_given_up():
    look = gather._Look(lambda: time.sleep(30), 0.05)
    assert look.found() == Silent("no answer within 0.05 s")


def test_a_look_that_fails_says_why():
    def fail():
        raise OSError(5, "Input/output error", "/mnt/dead")

    assert gather._Look(fail, 5.0).found() == Silent("[Errno 5] Input/output error: '/mnt/dead'")
