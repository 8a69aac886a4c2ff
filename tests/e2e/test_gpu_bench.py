"""What the GPU bench prints for others: a rehearsal of it without a card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tickover.host.gpu.nvml import NoCards, open_cards

ROOT = Path(__file__).resolve().parents[2]
SMALLEST = ("--stand-in", "--stages", "small", "--cycles", "2", "--minutes", "2")


def test_its_last_line_is_one_object_by_size_and_rung(tmp_path):
    command = [
        sys.executable,
        "bench/gpu_idle.py",
        *SMALLEST,
        "--out",
        tmp_path / "out",
        "--home",
        tmp_path / "home",
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told == json.loads((tmp_path / "out/gpu_idle.json").read_text())
    assert told["is_stand_in"] and "STAND-IN" in ran.stdout
    assert (told["requests_lost"], told["processes_left"], told["is_host_left"]) == (0, [], False)
    assert {size: list(stages) for size, stages in told["models"].items()} == {
        "0.6B": ["warm", "sleep", "checkpoint"]
    }
    asleep, deep = told["models"]["0.6B"]["sleep"], told["models"]["0.6B"]["checkpoint"]
    assert {"request_to_first_token", "sleep_up", "freeze_up"} <= asleep["stages_ms"].keys()
    assert {"request_to_first_token", "sleep_up", "checkpoint_up"} <= deep["stages_ms"].keys()
    for rung in (asleep, deep):
        assert rung["tokens_equal"] == rung["is_reached"] == "2/2"
        times = rung["stages_ms"]["request_to_first_token"]
        assert times["n"] == 2 and times["p95"] >= times["p50"] > rung["stages_ms"]["sleep_up"]["min"] > 300
    empty, awake = told["empty_card_mib"], asleep["vram_mib"]["awake"]["p50"]
    assert deep["vram_mib"]["idle"]["p50"] == empty < asleep["vram_mib"]["idle"]["p50"] < awake


@pytest.mark.skipif(not isinstance(open_cards(), NoCards), reason="there is a card here")
def test_a_machine_without_a_card_is_told_so(tmp_path):
    command = [sys.executable, "bench/gpu_idle.py", "--out", tmp_path / "out", "--home", tmp_path / "home"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "no NVIDIA GPU is seen here (NVML); ARGS=--stand-in" in ran.stderr
    assert (ran.returncode, ran.stdout) == (1, "")
