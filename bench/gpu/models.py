"""Models of real sizes with random weights, for a machine that can download none.

Owns: the folders of such models: config.json, a made-up tokenizer, one safetensors file. Promises: the
dimensions of Qwen3; weights at a scale at which greedy tokens tell a damaged copy from a sound one; the same
seed gives the same weights. Never: a model that means something. Needs torch, safetensors and tokenizers.

Run as a program: ``python -m bench.gpu.models FOLDER NAME…`` makes FOLDER/NAME.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

VOCABULARY: Final = 151936
HEAD: Final = 128
KEYS: Final = 8
SEED: Final = 7
# Larger than in a trained model, or all words of the vocabulary come out equally likely.
EMBEDDING_SCALE: Final = 4.0
CHAT_TEMPLATE: Final = "chat_template.jinja"
TEMPLATE: Final = "{% for message in messages %}{{ message.content }}{% endfor %}"
DIMENSIONS: Final[dict[str, dict[str, Any]]] = {
    "qwen3-0.6b": {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "tie_word_embeddings": True,
    },
    "qwen3-8b": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
}


def config(name: str) -> dict[str, Any]:
    """config.json of a model."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": VOCABULARY,
        "num_key_value_heads": KEYS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": VOCABULARY - 1,
        "eos_token_id": VOCABULARY - 1,
        "torch_dtype": "bfloat16",
        **DIMENSIONS[name],
    }


def matrices(given: dict[str, Any]) -> Iterator[tuple[str, int, int, float]]:
    """Name, rows, columns and scale of each matrix of a config."""
    hidden, inner = given["hidden_size"], given["intermediate_size"]
    queries, keys = given["num_attention_heads"] * HEAD, KEYS * HEAD
    yield "model.embed_tokens.weight", VOCABULARY, hidden, EMBEDDING_SCALE
    if not given["tie_word_embeddings"]:
        yield "lm_head.weight", VOCABULARY, hidden, EMBEDDING_SCALE
    parts = (
        ("self_attn.q_proj", queries, hidden),
        ("self_attn.k_proj", keys, hidden),
        ("self_attn.v_proj", keys, hidden),
        ("self_attn.o_proj", hidden, queries),
        ("mlp.gate_proj", inner, hidden),
        ("mlp.up_proj", inner, hidden),
        ("mlp.down_proj", hidden, inner),
    )
    for layer in range(given["num_hidden_layers"]):
        for name, rows, columns in parts:
            yield f"model.layers.{layer}.{name}.weight", rows, columns, 1.0


def norms(given: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Name and length of each vector of ones."""
    yield "model.norm.weight", given["hidden_size"]
    for layer in range(given["num_hidden_layers"]):
        for name, length in (
            ("input_layernorm", given["hidden_size"]),
            ("post_attention_layernorm", given["hidden_size"]),
            ("self_attn.q_norm", HEAD),
            ("self_attn.k_norm", HEAD),
        ):
            yield f"model.layers.{layer}.{name}.weight", length


def weight_bytes(name: str) -> int:
    """How large the weights are, as bfloat16."""
    given = config(name)
    numbers = sum(rows * columns for _, rows, columns, _ in matrices(given))
    return 2 * (numbers + sum(length for _, length in norms(given)))


def write_words(folder: Path) -> None:
    """A tokenizer of the right size whose words mean nothing, and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    vocabulary |= {f"t{number}": number for number in range(len(letters), VOCABULARY - 1)}
    vocabulary["<|end|>"] = VOCABULARY - 1
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "bos_token": "<|end|>",
        "model_max_length": 40960,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / CHAT_TEMPLATE).write_text(TEMPLATE)


def write_weights(folder: Path, given: dict[str, Any], device: str) -> None:
    import torch
    from safetensors.torch import save_file

    draw = torch.Generator(device=device).manual_seed(SEED)
    weights = {
        name: (torch.randn(rows, columns, generator=draw, device=device) * (scale / columns**0.5))
        .to(torch.bfloat16)
        .cpu()
        for name, rows, columns, scale in matrices(given)
    }
    weights |= {name: torch.ones(length, dtype=torch.bfloat16) for name, length in norms(given)}
    part = folder / "model.safetensors.part"  # a run that is cut off leaves no half of a model
    save_file(weights, part, metadata={"format": "pt"})
    part.replace(folder / "model.safetensors")


def make(folder: Path, name: str, device: str = "cuda") -> None:
    """A model that a server can load. What is there already is kept."""
    target = folder / name
    if (target / "model.safetensors").is_file():
        return
    target.mkdir(parents=True, exist_ok=True)
    given = config(name)
    (target / "config.json").write_text(json.dumps(given))
    write_words(target)
    write_weights(target, given, device)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make models with random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", choices=sorted(DIMENSIONS))
    parser.add_argument("--device", default="cuda", help="where the weights are drawn (default: cuda)")
    given = parser.parse_args()
    for name in given.names:
        began = time.monotonic()
        make(given.folder, name, given.device)
        print(
            f"{given.folder / name}: {weight_bytes(name) / 2**30:.2f} GiB, {time.monotonic() - began:.1f} s"
        )


if __name__ == "__main__":
    main()
