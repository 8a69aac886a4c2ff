"""The small model server speaks the OpenAI API with a real model, and names its mistakes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests

from tickover import models

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tickover.llama_server"]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def model_folder() -> Path:
    """The demo model, fetched once into the project's own NAS folder (as `make up` does)."""
    path, _ = models.pull("smollm2", ROOT / ".tickover/nas", lambda line: None)
    return path.parent


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    port = free_port()
    log = tmp_path_factory.mktemp("llama") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*COMMAND, "--model", str(model_folder), "--served-model-name", "smollm2",
             "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "512", "--max-num-seqs", "2"],
            env=ENV, stdout=out, stderr=out,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                if requests.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield url, process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def client(server: tuple[str, int]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server[0]}/v1", api_key="unused", max_retries=0, timeout=60) as made:
        yield made


def test_it_answers_under_the_served_name(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["smollm2"]


def test_it_answers_sensibly(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2",
        max_tokens=24,
        temperature=0,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.model == "smollm2"


def test_it_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="smollm2", max_tokens=8, stream=True, messages=[{"role": "user", "content": "Tell me a story."}]
    )
    pieces = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
    assert len(pieces) > 3


def test_a_request_longer_than_the_limit_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"context|exceed"):
        client.chat.completions.create(
            model="smollm2", messages=[{"role": "user", "content": "word " * 600}], max_tokens=4
        )


def test_metrics_are_served(server: tuple[str, int]) -> None:
    assert "llamacpp:prompt_tokens_total" in requests.get(f"{server[0]}/metrics", timeout=5).text


def test_a_port_already_taken_is_a_clear_error(model_folder: Path, server: tuple[str, int]) -> None:
    port = server[0].rpartition(":")[2]
    ended = subprocess.run(
        [*COMMAND, "--model", str(model_folder), "--port", port],
        env=ENV, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "error: Model server did not start" in ended.stderr
    assert port in ended.stderr


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: folder / "absent", "Model path does not exist"),
        (lambda folder: folder, "Model folder has no model"),
        (lambda folder: [(folder / n).write_bytes(b"GGUF") for n in ("a.gguf", "b.gguf")] and folder,
         "Model folder is ambiguous"),
        (lambda folder: (folder / "a.gguf").write_text("not a model") and folder, "Model file is not GGUF"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_served_is_named(make: object, expected: str, tmp_path: Path) -> None:
    assert callable(make)
    path = make(tmp_path)
    ended = subprocess.run(
        [*COMMAND, "--model", str(path)], env=ENV, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert f"error: {expected}" in ended.stderr
    assert str(path) in ended.stderr
    assert ("tickover model pull smollm2" in ended.stderr) == (expected[-5:] in ("exist", "model"))
