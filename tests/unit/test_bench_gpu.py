"""The arithmetic of the GPU bench: percentiles, growth, the reading of a stream, sizes of models."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from bench.gpu.asking import drawn_tokens
from bench.gpu.figures import by_size, growth, nearest_rank, summary, table
from bench.gpu.finding import models, python_with_vllm
from bench.gpu.models import DIMENSIONS, config, weight_bytes
from bench.gpu.steps import Steps
from tickover.host.metrics import Metrics, Snapshot
from tickover.host.model import Deepest


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1), (50, 15), (51, 16), (95, 29), (96, 29), (97, 30), (100, 30)]
)
def test_a_percentile_is_a_measured_value_of_the_nearest_rank(percent, expected):
    values = list(range(30, 0, -1))
    assert nearest_rank(values, percent) == expected


@pytest.mark.parametrize("values, percent", [([], 50), ([1.0], 0), ([1.0], 101)])
def test_what_has_no_percentile_is_refused(values, percent):
    with pytest.raises(ValueError, match="percentile"):
        nearest_rank(values, percent)


def test_a_summary_hides_no_bad_value():
    found = summary([0.2, 0.1, 9.0])
    assert (found.n, found.least, found.p50, found.p95, found.worst) == (3, 0.1, 0.2, 9.0, 9.0)


def test_growth_is_from_the_first_steady_cycles_to_the_last():
    assert growth([500.0, 300.0, *([100.0] * 10), *([104.0] * 10)]) == 4.0
    assert growth([float(n) for n in range(42)]) == 36.0  # medians of the first and the last four
    with pytest.raises(ValueError, match="too few"):
        growth([1.0] * 7)


def test_a_stage_tells_how_many_were_equal_and_what_was_not_measured_is_not_there():
    rows = [
        {"request_to_first_token_ms": 500.0, "sleep_up_ms": 410.0, "tokens_equal": True, "card_mib": 42000},
        {"request_to_first_token_ms": None, "tokens_equal": None, "card_mib": 42000},
        {"request_to_first_token_ms": 700.0, "sleep_up_ms": 420.0, "tokens_equal": False, "card_mib": 42010},
    ]
    told = by_size({"8B sleep": rows, "8B swap sleep": rows[:1], "0.6B warm": rows[2:]})
    assert {size: list(stages) for size, stages in told.items()} == {
        "8B": ["sleep", "swap sleep"],
        "0.6B": ["warm"],
    }
    found = told["8B"]["sleep"]
    assert found["cycles"] == 3 and found["tokens_equal"] == "1/2"
    assert found["stages_ms"] == {
        "request_to_first_token": {"n": 2, "p50": 500.0, "p95": 700.0, "max": 700.0, "min": 500.0},
        "sleep_up": {"n": 2, "p50": 410.0, "p95": 420.0, "max": 420.0, "min": 410.0},
    }
    assert list(found["vram_mib"]) == ["awake"]
    assert not {"logprobs_equal", "is_reached", "rss_mib"} & found.keys()
    lines = table(told)
    assert "| 8B | sleep | request to first token, ms | 2 | 500.0 | 700.0 | 700.0 |" in lines
    assert "| 8B | sleep | card awake, MiB | 3 | 42000 | 42010 | 42010 |" in lines


def page_of(*steps):
    """A metrics page after steps of so many seconds."""
    clock = SimpleNamespace(now=0)
    metrics = Metrics(SimpleNamespace(mono_ns=lambda: clock.now), lambda: Snapshot([], [], {}))
    for rung, direction, seconds in steps:
        with metrics.step(rung, direction):
            clock.now += int(seconds * 1e9)
    return metrics.page().decode()


def test_the_steps_of_a_cycle_are_what_the_hosts_metrics_have_gained():
    down, deep = (Deepest.SLEEP, "down", 0.25), (Deepest.CHECKPOINT, "down", 1.5)
    up, again = (Deepest.CHECKPOINT, "up", 1.25), (Deepest.CHECKPOINT, "up", 1.75)
    pages = iter([page_of(down), page_of(down, deep, up), page_of(down, deep, up, again, again)])
    steps = Steps(lambda: next(pages))
    assert steps.taken() == {"sleep_down": 0.25}
    assert steps.taken() == {"checkpoint_down": 1.5, "checkpoint_up": 1.25}
    assert steps.taken() == {"checkpoint_up": 1.75}


def an_interpreter(folder, name, *, has_vllm):
    """One that knows whether it has vLLM, and wants a variable."""
    made = folder / name
    made.write_text(f'#!/bin/sh\n[ "$WANTED" = yes ] || exit 3\nexit {0 if has_vllm else 1}\n')
    made.chmod(0o755)
    return str(made)


def test_the_interpreter_that_has_vllm_is_found(tmp_path):
    without = an_interpreter(tmp_path, "python3", has_vllm=False)
    having = an_interpreter(tmp_path, "python3.12", has_vllm=True)
    candidates = [str(tmp_path / "absent"), without, without, having]
    assert python_with_vllm({"WANTED": "yes"}, candidates) == having
    with pytest.raises(SystemExit, match=r"no vLLM was found by \S+python3, \S+python3.12\.\n.*--python"):
        python_with_vllm({}, candidates)


def test_models_that_are_there_are_kept_and_those_without_room_refused(tmp_path, monkeypatch):
    for name in DIMENSIONS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    assert models(tmp_path, "/no/interpreter", {}) == tmp_path
    (tmp_path / "qwen3-8b/model.safetensors").rename(tmp_path / "qwen3-8b/model.safetensors.part")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 << 30))
    with pytest.raises(SystemExit, match=r"qwen3-8b take 16.3 GiB; \S+ has 2.0.\n.*--models"):
        models(tmp_path, "/no/interpreter", {})


def test_the_tokens_of_a_chunk_are_those_with_a_logprob():
    drawn = {"choices": [{"logprobs": {"content": [{"token": "t7", "logprob": -1}]}}]}
    assert drawn_tokens(drawn) == [("t7", -1.0)]
    for silent in ({"choices": []}, {"choices": [{"delta": {"role": "assistant"}, "logprobs": None}]}, {}):
        assert drawn_tokens(silent) == []


def test_the_models_have_the_sizes_of_the_real_ones():
    assert weight_bytes("qwen3-8b") == 2 * 8_190_735_360
    assert weight_bytes("qwen3-0.6b") == 2 * 596_049_920
    assert config("qwen3-8b")["num_hidden_layers"] == 36
