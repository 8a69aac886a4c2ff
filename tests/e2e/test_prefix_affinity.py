"""A small run of the prefix bench: conversations on servers whose caches hold a part of them."""

from __future__ import annotations

from bench.hosted import BenchHost
from bench.prefix_affinity import both, without_model


def test_prompts_that_begin_alike_find_their_beginning_again(tmp_path):
    with BenchHost(tmp_path / "home") as host:
        found = both(host, "cached", without_model(instances=2, prompts=6, users=2, turns=4, blocks=150))
    off, on = found["off"], found["on"]
    assert off["requests"] == on["requests"] == 48
    assert off["hits"] + off["misses"] == 0
    assert on["hits"] >= 36  # of 42 that are not the first of their system prompt
    assert on["computed_tokens"] < 0.85 * off["computed_tokens"]
    assert min(on["requests_by_instance"]) >= 12
