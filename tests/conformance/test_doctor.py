"""`tickover doctor` as a process on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tickover.doctor import gather
from tickover.doctor.facts import CudaFact, Silent
from tickover.host.gpu import nvml

NAMES = {
    "host",
    "functions",
    "python",
    "packages",
    "data home",
    "port",
    "Docker engine",
    "mount namespaces",
    "cgroups",
    "NFS client",
    "NVIDIA driver",
    "CUDA library",
    "cards (NVML)",
    "CUDA checkpoint",
}


def tickover(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKOVER_")}
    return subprocess.run(
        [sys.executable, "-m", "tickover", *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def project(tmp_path):
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    return tmp_path


def lines(answer):
    return {check["name"]: check for check in json.loads(answer.stdout)["checks"]}


def test_it_tells_of_every_part_and_changes_nothing(project):
    before = sorted(project.rglob("*"))
    began = time.monotonic()
    answer = tickover(project, "doctor", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert time.monotonic() - began < 90
    found = lines(answer)
    assert found.keys() == NAMES and answer.stderr == ""
    assert found["python"]["status"] == found["packages"]["status"] == found["data home"]["status"] == "ok"
    assert found["host"]["found"] == "not running"
    for check in found.values():
        assert check["status"] in ("ok", "fallback", "missing", "broken") and check["found"]
        assert check["status"] in ("ok", "fallback") or not check["needed"]
    assert sorted(project.rglob("*")) == before


def test_a_kind_that_has_to_work_decides_the_exit_code(project):
    if not isinstance(nvml.open_cards(), nvml.NoCards):
        pytest.skip("this machine has a GPU, so nothing that one needs is missing")
    answer = tickover(project, "doctor", "--for", "gpu")
    assert answer.returncode == 1
    assert "missing   NVIDIA driver" in answer.stdout
    assert "Has to be mended: NVIDIA driver, CUDA library, cards (NVML)." in answer.stdout


def test_with_a_card_a_process_really_goes_and_comes_back(project):
    if isinstance(cards := nvml.open_cards(), nvml.NoCards):
        pytest.skip(f"no GPU: {cards.reason}")
    cards.close()
    found = lines(tickover(project, "doctor", "--json"))["CUDA checkpoint"]
    assert found["status"] == "ok", found


def test_it_knows_a_running_host_and_its_port(project):
    assert tickover(project, "host", "start", "--port", "0").returncode == 0
    try:
        answer = tickover(project, "doctor", "--json")
        assert answer.returncode == 0, answer.stdout
        found = lines(answer)
        assert found["host"]["found"].startswith("runs at http://127.0.0.1:")
        assert found["port"]["found"].endswith("held by this host")
    finally:
        assert tickover(project, "host", "stop").returncode == 0


def test_outside_of_a_project_it_says_so_and_looks_at_the_rest(tmp_path):
    answer = tickover(tmp_path, "doctor", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = lines(answer)
    assert "no project here" in found["data home"]["found"]
    assert found["mount namespaces"]["status"] in ("ok", "fallback")


def test_an_engine_that_takes_a_call_and_says_nothing_does_not_hold_it_up(project, tmp_path):
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        began = time.monotonic()
        answer = tickover(project, "doctor", "--json", "--for", "container", DOCKER_HOST=f"unix://{path}")
        assert time.monotonic() - began < 30
    found = lines(answer)["Docker engine"]
    assert answer.returncode == 1 and found["needed"]
    assert found["status"] in ("missing", "broken") and "no answer within" in found["found"]


def test_an_unknown_kind_is_refused(project):
    answer = tickover(project, "doctor", "--for", "tpu")
    assert answer.returncode == 2 and "process, container, gpu" in answer.stderr


def test_a_question_that_hangs_is_given_up_and_what_it_said_before_is_kept():
    code = (
        'import sys, time\nprint(\'{"is_there": true, "has_checkpoint": true}\', flush=True)\ntime.sleep(60)'
    )
    began = time.monotonic()
    answer = gather.ask("cuda", 1.0, (sys.executable, "-c", code))
    assert time.monotonic() - began < 5.0
    assert answer == ({"is_there": True, "has_checkpoint": True}, False)
    found = gather.read_cuda(answer)
    assert isinstance(found, CudaFact) and found.trial == Silent("the trial hung or was ended")


@pytest.mark.parametrize("read", [gather.read_cuda, gather.read_cards])
def test_a_question_that_dies_is_no_answer(read):
    answer = gather.ask("x", 20.0, (sys.executable, "-c", "import os; os.abort()"))
    assert answer == ({}, False)
    assert isinstance(read(answer), Silent)
