"""Real vLLM on the CPU behind the host: it answers, streams, idles, wakes, drains, aborts, and fails clearly.

The tests share one server, in their order: starting one takes about a minute.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import NotFoundError, RateLimitError
from Tea.exceptions import TeaException

from tests.support.vllm_host import (
    FUNCTION,
    MODEL,
    START_SECONDS,
    VllmHost,
    answers,
    processor_ticks,
    vllm_host,
)

pytestmark = pytest.mark.timeout(START_SECONDS + 120)

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
COUNT = [{"role": "user", "content": "Count from one to one thousand."}]
CYCLES = 4


@pytest.fixture(scope="module")
def host(vllm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmHost]:
    with vllm_host(tmp_path_factory.mktemp("vllm"), vllm) as found:
        found.declare(found.argv())
        found.reserve(1)
        yield found


@pytest.fixture(scope="module")
def answer(host: VllmHost) -> str:
    """The greedy answer of the server that has just started."""
    host.until(lambda i: host.is_up(), "a start", START_SECONDS)
    return ask(host)


def ask(host: VllmHost, **more: object) -> str:
    with host.openai() as client:
        made = client.chat.completions.create(
            model=MODEL, messages=FRANCE, max_tokens=24, temperature=0, **more
        )
    return made.choices[0].message.content


def test_it_answers(host: VllmHost, answer: str) -> None:
    assert "Paris" in answer
    with host.openai() as client:
        assert [m.id for m in client.models.list()] == [MODEL]
        with pytest.raises(NotFoundError, match="other"):
            client.chat.completions.create(model="other", messages=FRANCE, max_tokens=1)


def test_it_streams_token_by_token(host: VllmHost, answer: str) -> None:
    with host.openai() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=FRANCE, max_tokens=24, temperature=0, stream=True
        )
        said = [c.choices[0].delta.content or "" for c in stream if c.choices]
    assert "".join(said) == answer
    assert len(said) > 3


def test_idle_it_sleeps_frozen_and_wakes_with_the_same_answer(host: VllmHost, answer: str) -> None:
    names = set()
    for _ in range(CYCLES):
        view = host.until_asleep()
        names.add(view.instance_id)
        assert view.rung == "sleep"
        before = processor_ticks(view)
        assert not answers(view, 0.5)
        assert len(before) > 1 and processor_ticks(view) == before
        with host.openai() as client:
            raw = client.chat.completions.with_raw_response.create(
                model=MODEL, messages=FRANCE, max_tokens=24, temperature=0
            )
        assert raw.headers["x-tickover-woke"] == "true"
        assert answers(view, 0.5)
        assert raw.parse().choices[0].message.content == answer
    assert len(names) == 1, "it was replaced instead of woken"


def test_a_client_that_goes_away_ends_the_work(host: VllmHost, answer: str) -> None:
    with host.openai() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=COUNT, max_tokens=1900, stream=True, extra_body={"ignore_eos": True}
        )
        for _, _chunk in zip(range(5), stream, strict=False):
            pass
        assert host.running() == 1, "the tokens came when all were made"
        stream.close()
    gone = time.monotonic()
    while host.running():
        assert time.monotonic() - gone < 5, "vLLM goes on for a client that is gone"
        time.sleep(0.1)
    assert ask(host) == answer


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("empty", [], "there is no model at /mnt/models/empty;"),
        (
            MODEL,
            ["--max-model-len", "20000"],
            "its --max-model-len 20000 is more than the model was made for;",
        ),
        (
            "pointer",
            [],
            "a .safetensors file of its model holds something else: it is damaged, or the pointer",
        ),
    ],
)
def test_what_it_cannot_start_with_is_told(host: VllmHost, model: str, more: list[str], said: str) -> None:
    name = f"{model}-broken-dev"
    host.declare([*host.argv(f"/mnt/models/{model}"), *more], name)
    host.reserve(1, name)
    deadline = time.monotonic() + START_SECONDS
    while not (error := host.error(name)):
        assert time.monotonic() < deadline, "nobody said what is wrong"
        time.sleep(0.5)
    host.reserve(0, name)
    assert error.startswith(said)
    assert "the process exited with code 1" in error


def test_a_path_that_does_not_exist_is_refused_before_anything_starts(host: VllmHost) -> None:
    with pytest.raises(TeaException, match=r"InvalidArgument.*/mnt/models/absent"):
        host.declare(host.argv("/mnt/models/absent"), "absent-dev")


def test_a_stream_in_flight_outlives_the_pool(host: VllmHost, answer: str) -> None:
    tokens = 600
    with host.openai() as client:
        stream = client.chat.completions.create(
            model=MODEL,
            messages=COUNT,
            max_tokens=tokens,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
        first = next(iter(stream))
        host.reserve(0)
        host.until(lambda i: i is not None and i.state.value == "draining", "draining", 10)
        chunks = [first, *stream]
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
        assert chunks[-1].usage.completion_tokens == tokens
        host.until(lambda i: i is None, "its end", 120)
        with pytest.raises(RateLimitError, match=f"{FUNCTION}.live has no reserved instance"):
            client.chat.completions.create(model=MODEL, messages=FRANCE, max_tokens=1)
