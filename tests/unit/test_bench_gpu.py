"""The arithmetic of the GPU bench: percentiles, growth, the reading of a stream, sizes of models."""

from __future__ import annotations

import pytest

from bench.gpu.asking import drawn_tokens
from bench.gpu.figures import growth, line, nearest_rank, share, stage, summary
from bench.gpu.models import config, weight_bytes


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
        {"token_seconds": 0.5, "is_same_text": True, "idle_card_mib": None},
        {"token_seconds": None, "is_same_text": None, "idle_card_mib": None},
        {"token_seconds": 0.7, "is_same_text": False, "idle_card_mib": None},
    ]
    told = stage(rows, ("token_seconds", "idle_card_mib"))
    assert told["cycles"] == 3 and told["token_seconds"]["n"] == 2 and told["is_same_text"] == "1/2"
    assert "idle_card_mib" not in told and "is_same_logprobs" not in told
    assert share(rows, "is_same_text") == "1/2"
    assert line("wake", told, "token_seconds") == "| wake | s | 2 | 0.500 | 0.700 | 0.700 |"
    assert line("wake", told, "idle_card_mib") == ""


def test_the_tokens_of_a_chunk_are_those_with_a_logprob():
    drawn = {"choices": [{"logprobs": {"content": [{"token": "t7", "logprob": -1}]}}]}
    assert drawn_tokens(drawn) == [("t7", -1.0)]
    for silent in ({"choices": []}, {"choices": [{"delta": {"role": "assistant"}, "logprobs": None}]}, {}):
        assert drawn_tokens(silent) == []


def test_the_models_have_the_sizes_of_the_real_ones():
    assert weight_bytes("qwen3-8b") == 2 * 8_190_735_360
    assert weight_bytes("qwen3-0.6b") == 2 * 596_049_920
    assert config("qwen3-8b")["num_hidden_layers"] == 36
