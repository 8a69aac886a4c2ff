"""What real model servers wrote when they could not start, and the cause that is told.

The files are the last lines of vLLM 0.32 on a CPU and of llama.cpp, with paths made general, and of
tracebacks the messages and a few frames.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tickover.host.diagnosis import Cause, diagnose

LOGS = Path(__file__).with_name("model_server_logs")
CASES = {
    "vllm_arch": (Cause.MODEL_UNSUPPORTED, "does not know the model's architecture NoSuchForCausalLM;"),
    "vllm_badjson": (Cause.MODEL_BROKEN, "/mnt/models/badjson/config.json is damaged: it is not JSON;"),
    "vllm_empty": (Cause.MODEL_ABSENT, "there is no model at /mnt/models/empty;"),
    "vllm_flag": (Cause.ARGUMENTS, "this version of the server does not know: --no-such-flag"),
    "vllm_garbage": (Cause.MODEL_BROKEN, "it is damaged, or the pointer that Git LFS leaves"),
    "vllm_hub": (Cause.MODEL_ABSENT, "could not be had from a hub (outgoing traffic has been disabled);"),
    "vllm_kv": (
        Cause.KV_CACHE,
        "one request of 200000 tokens; lower --max-model-len to 46464 or less, raise",
    ),
    "vllm_kv_huge": (
        Cause.HOST_MEMORY,
        "KV cache: 100.0 GiB wanted, 16.44 of 19.84 GiB are free; lower VLLM",
    ),
    "vllm_layers": (
        Cause.MODEL_BROKEN,
        "do not have all that its config.json names (such as model.layers.30.",
    ),
    "vllm_lfs": (Cause.MODEL_BROKEN, "it is damaged, or the pointer that Git LFS leaves"),
    "vllm_model_type": (Cause.MODEL_UNSUPPORTED, "does not know the model's architecture nosuch;"),
    "vllm_nomodule": (Cause.MODULE_ABSENT, "its Python has no module vllm;"),
    "vllm_notok": (Cause.MODEL_BROKEN, "the folder of its model has no tokenizer"),
    "vllm_noweights": (Cause.MODEL_ABSENT, "there is no model at /mnt/models/noweights;"),
    "vllm_port": (Cause.PORT_TAKEN, "a port that it wants is taken;"),
    "vllm_quant": (Cause.ARGUMENTS, "its command has --quantization awq, and the model is not quantized so;"),
    "vllm_rlimit": (Cause.HOST_MEMORY, "the host's memory ran out; raise memorySize"),
    "vllm_rlimit_small": (Cause.HOST_MEMORY, "the host's memory ran out; raise memorySize"),
    "vllm_too_long": (
        Cause.ARGUMENTS,
        "--max-model-len 20000 is more than the model was made for; lower it to 8192",
    ),
    "vllm_tp": (Cause.ARGUMENTS, "--tensor-parallel-size 4 does not divide the 9 attention heads"),
    "vllm_trunc": (Cause.MODEL_BROKEN, "was not copied whole (Error while deserializing header: incomplete"),
    "vllm_value": (Cause.ARGUMENTS, "does not take: --dtype invalid choice: 'int3'"),
    "vllm_wrong_path": (Cause.MODEL_ABSENT, "there is no model at /mnt/models/absent;"),
    "llama_arch": (Cause.MODEL_UNSUPPORTED, "does not know the model's architecture llamq;"),
    "llama_flag": (Cause.ARGUMENTS, "this version of the server does not know: --no-such-flag"),
    "llama_garbage": (Cause.MODEL_BROKEN, "was not copied whole (failed to read header);"),
    "llama_port": (Cause.PORT_TAKEN, "a port that it wants is taken;"),
    "llama_rlimit": (Cause.HOST_MEMORY, "36899389440 bytes more were wanted; lower --max-model-len"),
    "llama_trunc": (
        Cause.MODEL_BROKEN,
        "(tensor 'blk.11.ffn_up.weight' data is not within the file bounds);",
    ),
    "llama_truncmeta": (Cause.MODEL_BROKEN, "was not copied whole (failed to read key-value pairs);"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cause_of_a_real_failure_is_told(name: str) -> None:
    cause, said = CASES[name]
    found = diagnose((LOGS / f"{name}.txt").read_text().splitlines())
    assert found is not None and found.cause is cause
    assert said in found.sentence


def test_every_log_is_asserted() -> None:
    assert sorted(CASES) == sorted(path.stem for path in LOGS.glob("*.txt"))


@pytest.mark.parametrize("lead", ["", "(Worker pid=7) ERROR 11-23 20:45:04 [core.py:1510] "])
def test_what_a_traceback_quotes_of_the_code_is_no_message(lead: str) -> None:
    frame = f'{lead}  File "/opt/vllm/lib/x.py", line 886, in _get_config_dict'
    message = "the config file at '{resolved}' is not a valid JSON file."
    assert diagnose([frame, f"{lead}    raise OSError({message})", f"{lead}OSError: another"]) is None
    assert diagnose([frame, f"{lead}OSError: {message}"]) is not None  # a frame without its code
