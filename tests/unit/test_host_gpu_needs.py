"""What a function asks of the cards: its model, and the size of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickover.fc.function import Function
from tickover.host.gpu.ledger import GIB, Rules
from tickover.host.gpu.needs import model_path, weights_bytes

RULES = Rules()


def spec(*words: str, memory_mb: int = 65536) -> Function:
    return Function.model_validate(
        {
            "functionName": "chat",
            "runtime": "custom-container",
            "handler": "not-used",
            "cpu": 16,
            "memorySize": memory_mb,
            "diskSize": 512,
            "customContainerConfig": {"image": "process://local", "entrypoint": list(words)},
            "nasConfig": {
                "userId": 0,
                "groupId": 0,
                "mountPoints": [{"serverAddr": "local:/models", "mountDir": "/mnt/models"}],
            },
        }
    )


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (
            ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "/mnt/models/a"],
            "/mnt/models/a",
        ),
        (["/usr/bin/python3.12", "-m", "vllm.entrypoints.openai.api_server", "--model=b"], "b"),
        (["vllm", "serve", "/mnt/models/a", "--port", "8000"], "/mnt/models/a"),
        (["python", "-m", "vllm.entrypoints.cli.main", "serve", "/mnt/models/a"], "/mnt/models/a"),
        (["llama-server", "-m", "/mnt/models/a.gguf"], "/mnt/models/a.gguf"),
        (["python3", "-m", "http.server"], None),
        (["serve"], None),
        (["vllm", "serve", "--model"], None),
    ],
)
def test_the_model_is_found_in_the_command(words: list[str], model: str | None) -> None:
    assert model_path(spec(*words)) == model


def test_the_weights_are_the_models_files(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "a"
    folder.mkdir(parents=True)
    (folder / "one.safetensors").write_bytes(b"x" * 1000)
    (folder / "two.safetensors").write_bytes(b"x" * 24)
    (folder / "README.md").write_bytes(b"x" * 500)
    words = ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "/mnt/models/a"]
    given = spec(*words)
    assert weights_bytes(given, model_path(given), {"local": tmp_path}, RULES) == 1024


def test_where_the_files_are_not_known_the_functions_memory_is_what_they_may_take(tmp_path: Path) -> None:
    found = weights_bytes(spec("vllm", "serve", "Qwen/Qwen3-8B"), "Qwen/Qwen3-8B", {"local": tmp_path}, RULES)
    assert found == round(60 * GIB / RULES.pinned_factor)
