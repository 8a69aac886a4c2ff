"""How much of the prompts a model server need not compute again, with prefix affinity and without.

Conversations that share a few system prompts, several at a time in a shuffled order, once with the setting
off and once with it on, each on fresh instances of a host of its own. First on servers without a model, whose
caches hold a part of the conversations (bench/affinity/cached.py), then, where there is a model, on
llama.cpp. Each answer tells how many tokens of its prompt were in the cache. Also times what the host adds
for looking at a prompt. Prints one JSON object as its last line; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.hosted import BenchHost, bench_folder, end_on_signal  # noqa: E402 - needs the path
from tickover.host.idle_settings import PREFIX_VARIABLE  # noqa: E402
from tickover.host.prefix import prefix_of  # noqa: E402

CACHED: Final = Path(__file__).resolve().parent / "affinity/cached.py"
MODEL: Final = ROOT / ".tickover/nas/models/smollm2-135m-instruct"
PATH: Final = "/v1/chat/completions"
START_SECONDS: Final = 120.0
ANSWER_SECONDS: Final = 300.0
WORDS: Final = ("river", "stone", "lamp", "winter", "road", "paper", "glass", "bread", "salt", "cloud")


@dataclass(frozen=True, slots=True)
class Wanted:
    """prompts: different system prompts; users: conversations of each, of so many turns. slots: requests at a
    time on an instance. program: the words of the server's command."""

    program: tuple[str, ...]
    instances: int
    slots: int
    prompts: int
    users: int
    turns: int
    at_a_time: int
    system_words: int = 300
    question_words: int = 30
    seed: int = 6


@dataclass(slots=True)
class Seen:
    cached: int = 0
    computed: int = 0
    said: Counter[str] = field(default_factory=Counter)
    instances: Counter[str] = field(default_factory=Counter)
    first_bytes: list[float] = field(default_factory=list)


def text(dice: random.Random, words: int) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(words))


async def converse(port: int, name: str, wanted: Wanted) -> Seen:
    """Every turn of every conversation; the turns of one come after each other, the conversations mixed."""
    dice = random.Random(wanted.seed)
    systems = [text(dice, wanted.system_words) for _ in range(wanted.prompts)]
    talks = [[{"role": "system", "content": system}] for system in systems for _ in range(wanted.users)]
    seen, gate = Seen(), asyncio.Semaphore(wanted.at_a_time)

    async def turn(talk: list[dict[str, str]], question: str) -> None:
        async with gate, asyncio.timeout(ANSWER_SECONDS):
            talk.append({"role": "user", "content": question})
            talk.append({"role": "assistant", "content": await ask(port, name, talk, seen)})

    for _ in range(wanted.turns):
        dice.shuffle(talks)
        await asyncio.gather(*(turn(talk, text(dice, wanted.question_words)) for talk in talks))
    return seen


async def ask(port: int, name: str, talk: list[dict[str, str]], seen: Seen) -> str:
    body = json.dumps({"messages": talk, "max_tokens": 12, "temperature": 0}).encode()
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /fn/{name}.live{PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        seen.first_bytes.append(time.monotonic() - began)
        told = {key.lower(): value.strip() for key, _, value in (text.partition(":") for text in fields)}
        answer = json.loads(await reader.readexactly(int(told["content-length"])))
    finally:
        writer.close()
    if line.split(" ")[1] != "200":
        sys.exit(f"{name} answered {line}: {answer}")
    seen.cached += answer["timings"]["cache_n"]
    seen.computed += answer["timings"]["prompt_n"]
    seen.said[told.get("x-tickover-prefix", "")] += 1
    seen.instances[told["x-fc-instance-id"]] += 1
    return str(answer["choices"][0]["message"]["content"])


def measured(host: BenchHost, name: str, variables: dict[str, str], wanted: Wanted) -> dict[str, Any]:
    host.declare(name, wanted.program, {"PYTHONPATH": str(ROOT), **variables}, concurrency=wanted.slots)
    host.reserve(name, wanted.instances, idles=False)
    host.until_up(name, wanted.instances, START_SECONDS)
    began = time.monotonic()
    seen = asyncio.run(converse(host.port or 0, name, wanted))
    took = time.monotonic() - began
    host.reserve(name, 0, idles=False)
    asked = sorted(seen.first_bytes)
    return {
        "requests": len(asked),
        "reused_share": round(seen.cached / (seen.cached + seen.computed), 4),
        "computed_tokens": seen.computed,
        "hits": seen.said["hit"],
        "misses": seen.said["miss"],
        "requests_by_instance": sorted(seen.instances.values()),
        "answer_p50_s": round(statistics.median(asked), 3),
        "answer_p95_s": round(asked[int(len(asked) * 0.95)], 3),
        "seconds": round(took, 1),
    }


def cost() -> dict[str, Any]:
    """Microseconds for the digests of one body, and for parsing it as JSON instead, by its size in KB."""
    dice, found = random.Random(1), {}
    for size_kb in (2, 8, 64, 1000):
        said = [
            {"role": "user" if at % 2 else "system", "content": text(dice, 60)} for at in range(size_kb * 3)
        ]
        body = json.dumps({"model": "m", "messages": said}).encode()[: size_kb * 1024]
        whole = json.dumps({"model": "m", "messages": said}).encode()
        found[str(size_kb)] = {
            "digests_us": best_us(lambda body=body: prefix_of(PATH, body)),
            "json_us": best_us(lambda whole=whole: json.loads(whole)),
        }
    slow = b'{"messages":[' + b"{}," * 349_000 + b"{}]}"
    found["1000, made to be slow"] = {
        "digests_us": best_us(lambda: prefix_of(PATH, slow)),
        "json_us": best_us(lambda: json.loads(slow)),
    }
    return found


def best_us(work: Any, rounds: int = 5) -> int:
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return round(best * 1e6)


def both(host: BenchHost, name: str, wanted: Wanted) -> dict[str, Any]:
    return {
        "off": measured(host, f"{name}-off", {}, wanted),
        "on": measured(host, f"{name}-on", {PREFIX_VARIABLE: "on"}, wanted),
    }


def without_model(
    instances: int = 4, prompts: int = 32, users: int = 4, turns: int = 6, blocks: int = 1000
) -> Wanted:
    """By default a cache holds little more than its share of all that is said."""
    program = (sys.executable, str(CACHED), "--port", "${port}", "--blocks", str(blocks))
    return Wanted(program, instances, 16, prompts, users, turns, 4 * instances)


def with_llama(model: Path) -> Wanted:
    program = (sys.executable, "-m", "tickover.llama_server", "--model", str(model), "--port", "${port}")
    limits = ("--max-num-seqs", "4", "--max-model-len", "2048", "--chat-template", "own")
    return Wanted((*program, *limits), 2, 4, 8, 1, 6, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the reuse of prompts with and without affinity.")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder or .gguf file of a chat model")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    end_on_signal()
    with bench_folder() as folder, BenchHost(folder / "home") as host:
        found["bounded_cache"] = both(host, "cached", without_model())
        if given.model.exists():
            found["llama"] = both(host, "llama", with_llama(given.model.resolve()))
        else:
            print(f"there is no {given.model}: no llama.cpp (tickover model pull smollm2)", file=sys.stderr)
    found["cost_by_kb"] = cost()
    found["machine"] = f"{platform.release()}, Python {platform.python_version()}"
    found["at"] = datetime.now(UTC).isoformat(timespec="minutes")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
