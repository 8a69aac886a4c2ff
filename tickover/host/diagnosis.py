"""What the last words of a model server mean.

Owns: the table of known messages of vLLM, llama.cpp and the loader, and the sentence for each. Promises:
pure; a message that is not known gives None; the first row of the table that fits counts, causes before
their consequences. Never: reads a log, decides anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Cause(Enum):
    """The classes of what goes wrong; the values are labels of a metric."""

    GPU_MEMORY = "gpu_memory"
    KV_CACHE = "kv_cache"
    HOST_MEMORY = "host_memory"
    ARCHITECTURE = "architecture"
    NO_GPU = "no_gpu"
    MODEL_ABSENT = "model_absent"
    MODEL_BROKEN = "model_broken"
    MODEL_UNSUPPORTED = "model_unsupported"
    ARGUMENTS = "arguments"
    PORT_TAKEN = "port_taken"
    PERMISSION = "permission"
    COMMAND_ABSENT = "command_absent"
    MODULE_ABSENT = "module_absent"


@dataclass(frozen=True, slots=True)
class Finding:
    cause: Cause
    sentence: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """fits: a pattern of one line; says: the sentence, with the pattern's groups, each empty if it did not
    take part."""

    cause: Cause
    fits: re.Pattern[str]
    says: str


_LINE_CHARACTERS: Final = 2000
_FRAME: Final = re.compile(r'File "[^"]+", line \d+, in ')


def _row(cause: Cause, fits: str, says: str) -> Meaning:
    return Meaning(cause, re.compile(fits, re.IGNORECASE), says)


_AGAIN: Final = "pull or copy the model again, whole"
_NEWER: Final = "use a newer image or version of the server, or another model"
_LESS: Final = "lower --gpu-memory-utilization or --max-model-len, or give the function a larger GPU"
_WEIGHTS: Final = "check the path in the command, nasConfig.mountPoints, and that the model was pulled"

MEANINGS: Final = (
    _row(
        Cause.GPU_MEMORY,
        r"CUDA out of memory\. Tried to allocate (?P<size>[\d.]+ \w+)"
        r"(?:.*?total capacity of (?P<total>[\d.]+ \w+) of which (?P<free>[\d.]+ \w+) is free)?",
        "the GPU has too little memory: {size} more were wanted{of}; " + _LESS,
    ),
    _row(
        Cause.GPU_MEMORY,
        r"Free memory on device \S*\s?\((?P<free>[\d.]+)/(?P<total>[\d.]+ \w+)\) on startup is less than",
        "the GPU has too little free memory: {free} of {total}; something else uses it, or the function's "
        "--gpu-memory-utilization is too high",
    ),
    _row(
        Cause.GPU_MEMORY,
        r"allocating (?P<size>[\d.]+ \w+) on device \d+: cudaMalloc failed: out of memory",
        "the GPU has too little memory: {size} more were wanted; offload fewer layers (--n-gpu-layers), "
        "shorten the context (--ctx-size), or give the function a larger GPU",
    ),
    _row(
        Cause.GPU_MEMORY,
        r"CUDA (?:driver )?error:? out of memory|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|"
        r"\bOutOfMemoryError\b.*CUDA|unable to allocate CUDA\d* buffer",
        "the GPU has too little memory; " + _LESS,
    ),
    _row(
        Cause.KV_CACHE,
        r"No available memory for the cache blocks",
        "the GPU has no memory left for the KV cache once the weights are loaded; raise "
        "--gpu-memory-utilization, or give the function a larger GPU",
    ),
    _row(
        Cause.KV_CACHE,
        r"(?:max seq len \((?P<length>\d+)\).*larger than the (?:maximum number of tokens|available KV cache)"
        r"|max seq len \((?P<other>\d+)\), .*KV cache is needed)"
        r"(?:.*estimated maximum model length is (?P<most>\d+))?",
        "the KV cache is too small for one request of {length}{other} tokens; lower --max-model-len{most}, "
        "raise --gpu-memory-utilization (without a GPU: VLLM_CPU_KVCACHE_SPACE), or give the function a "
        "larger GPU",
    ),
    _row(
        Cause.HOST_MEMORY,
        r"Available memory on node \d+ \((?P<free>[\d.]+)/(?P<total>[\d.]+ \w+)\) on kv cache allocation "
        r"is less than requested memory for kv \((?P<size>[\d.]+ \w+)\)",
        "the host has too little memory for the KV cache: {size} wanted{of}; lower VLLM_CPU_KVCACHE_SPACE or "
        "--kv-cache-memory-bytes",
    ),
    _row(
        Cause.MODEL_BROKEN,
        # vLLM takes what stands at the file's beginning for a length and fails with whatever that leads to.
        r"in parse_safetensors_file_metadata",
        "a .safetensors file of its model holds something else: it is damaged, or the pointer that Git LFS "
        "leaves where it did not fetch the file (git lfs pull); " + _AGAIN,
    ),
    _row(
        Cause.HOST_MEMORY,
        r"killed for using more than its memorySize, (?P<size>\d+ MB)",
        "it used more than its memorySize of {size}; raise memorySize, or load less",
    ),
    _row(
        Cause.HOST_MEMORY,
        r"failed to allocate CPU buffer of size (?P<bytes>\d+)",
        "the host's memory ran out: {bytes} bytes more were wanted; lower --max-model-len (llama.cpp: "
        "--ctx-size) or --max-num-seqs, or raise memorySize",
    ),
    _row(
        Cause.HOST_MEMORY,
        r"std::bad_alloc|DefaultCPUAllocator: (?:can't|not enough) |Cannot allocate memory|"
        r"failed to map segment from shared object|^MemoryError\b",
        "the host's memory ran out; raise memorySize, or load less",
    ),
    _row(
        Cause.ARCHITECTURE,
        r"exec format error",
        "its program is made for another processor architecture; use an image or binary built for this one",
    ),
    _row(
        Cause.ARCHITECTURE,
        r"no kernel image is available for execution on the device",
        "its image has no code for this type of GPU; use an image built for the GPU's compute capability",
    ),
    _row(
        Cause.NO_GPU,
        r"CUDA driver version is insufficient for CUDA runtime version|"
        r"The NVIDIA driver on your system is too old",
        "the machine's NVIDIA driver is older than its image needs; update the driver, or use an older image",
    ),
    _row(
        Cause.NO_GPU,
        r"libcuda\.so(?:\.1)?: cannot open shared object|Found no NVIDIA driver|No CUDA GPUs are available|"
        r"no CUDA-capable device is detected|Failed to infer device type|NVML Shared Library Not Found|"
        r"NVMLError_LibraryNotFound|nvidia-container-cli: initialization error",
        "it sees no GPU: the machine has none, or its driver is not there (libcuda); see tickover host "
        "status, and gpuConfig of the function",
    ),
    _row(
        Cause.MODEL_ABSENT,
        r"failed to open GGUF file '?(?P<gguf>[^'\s(]+)",
        "there is no model at {gguf}; " + _WEIGHTS,
    ),
    _row(
        Cause.MODEL_UNSUPPORTED,
        r"(?:Model architectures \['(?P<classes>[^]]*)'\] are not supported"
        r"|model type `(?P<type>[^`]*)` but Transformers does not recognize"
        r"|unknown model architecture: '(?P<llama>[^']*)')",
        "this version of the server does not know the model's architecture {classes}{type}{llama}; " + _NEWER,
    ),
    _row(
        Cause.MODEL_BROKEN,
        r"config file at '(?P<path>[^']*)' is not a valid JSON file",
        "{path} is damaged: it is not JSON; " + _AGAIN,
    ),
    _row(
        Cause.MODEL_BROKEN,
        r"Following weights were not initialized from checkpoint: \{'(?P<first>[^']+)'",
        "its model's weights do not have all that its config.json names (such as {first}): a file is missing "
        "or of another model; " + _AGAIN,
    ),
    _row(
        Cause.MODEL_BROKEN,
        r"SafetensorError: (?P<why>.{1,120})",
        "a .safetensors file of its model is damaged or was not copied whole ({why}); " + _AGAIN,
    ),
    _row(
        Cause.MODEL_BROKEN,
        r"error loading model: (?P<why>tensor '.*' data is not within the file bounds)|"
        r"gguf_init_from_(?:reader|file): (?P<head>failed to read [\w -]+|invalid magic.*)",
        "the .gguf file of its model is damaged or was not copied whole ({why}{head}); " + _AGAIN,
    ),
    _row(
        Cause.MODEL_BROKEN,
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer for '(?P<path>[^']*)'",
        "the folder of its model {path} has no tokenizer that the server can use (tokenizer.json); " + _AGAIN,
    ),
    _row(
        Cause.MODEL_ABSENT,
        r"(?:HFValidationError: .*?'(?P<hub>/[^']*)'"
        r"|Incorrect path_or_model_id: '(?P<wrong>[^']*)'"
        r"|Invalid repository ID or local directory specified: '(?P<local>[^']*)'"
        r"|(?P<bare>/\S+) does not appear to have (?:a file named config\.json|files named)"
        r"|Cannot find any model weights with `(?P<weights>[^`]*)`"
        r"|failed to load model,? (?:from )?'?(?P<llama>/[^'\s]+)"
        r"|No such file or directory: '(?P<file>[^']*/(?:config\.json|[^']*\.(?:safetensors|gguf|bin)))')",
        "there is no model at {hub}{wrong}{local}{bare}{weights}{llama}{file}; " + _WEIGHTS,
    ),
    _row(
        Cause.MODEL_ABSENT,
        r"(?:HFValidationError: .*: '(?P<hub>[^']+)'"
        r"|(?P<id>[\w.-]+/[\w.-]+) is not a local folder and is not a valid model identifier"
        r"|Repository Not Found for url: \S*/api/models/(?P<url>[^\s/]+/[^\s/.]+)"
        r"|We couldn't connect to '(?P<host>[^']+)' to load"
        r"|LocalEntryNotFoundError: .*(?P<off>outgoing traffic has been disabled))",
        "its model is not on this machine and could not be had from a hub ({hub}{id}{url}{host}{off}); "
        "name a folder below a mountDir, and pull the model first",
    ),
    _row(
        Cause.ARGUMENTS,
        r"error: unrecognized arguments: (?P<words>.{1,200})",
        "its command has arguments that this version of the server does not know: {words}",
    ),
    _row(
        Cause.ARGUMENTS,
        r"error: (?:invalid argument: (?P<word>\S+)|argument (?P<name>\S+?): (?P<why>.{1,200}))",
        "its command has an argument that the server does not take: {word}{name} {why}",
    ),
    _row(
        Cause.ARGUMENTS,
        r"max_model_len \((?P<given>\d+)\) is greater than the derived max_model_len \(\w+=(?P<most>\d+)",
        "its --max-model-len {given} is more than the model was made for; lower it{most}",
    ),
    _row(
        Cause.ARGUMENTS,
        r"Cannot find the config file for (?P<method>\w+)",
        "its command has --quantization {method}, and the model is not quantized so; leave the flag out",
    ),
    _row(
        Cause.ARGUMENTS,
        r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<size>\d+)\)",
        "its --tensor-parallel-size {size} does not divide the {heads} attention heads of the model; choose "
        "one that does",
    ),
    _row(
        Cause.PORT_TAKEN,
        r"address already in use|couldn't bind (?:HTTP )?(?:server )?socket",
        "a port that it wants is taken; its server has to listen on ${{port}} (in a container: on "
        "customContainerConfig.port)",
    ),
    _row(
        Cause.COMMAND_ABSENT,
        r"tickover: cannot run (?P<what>.+): No such file or directory|"
        r"exec: \"?(?P<other>[^\":]+)\"?: .*not found",
        "its command {what}{other} does not exist; see customContainerConfig.entrypoint and command",
    ),
    _row(
        Cause.MODULE_ABSENT,
        r"(?:^|\) |\] )ModuleNotFoundError: No module named '(?P<name>[^']+)|"
        r"python[\d.]*: (?:Error while finding module .*)?No module named '?(?P<run>[\w.]+)",
        "its Python has no module {name}{run}; use an image, or in the command an interpreter, that has it",
    ),
    _row(
        Cause.PERMISSION,
        r"(?:PermissionError: .*?Permission denied: '(?P<path>[^']*)'"
        r"|cannot run (?P<what>.+): Permission denied"
        r"|exec:? .*permission denied)",
        "it may not use {path}{what}: permission denied; mounts are read-only, and files keep their owners",
    ),
)


def diagnose(lines: Iterable[str]) -> Finding | None:
    """What the lines say went wrong, by the first row of the table that any of them fits."""
    given = [line[:_LINE_CHARACTERS] for line in _without_source(lines)]
    for meaning in MEANINGS:
        for line in given:
            found = meaning.fits.search(line)
            if found is not None:
                return Finding(meaning.cause, _sentence(meaning, found.groupdict(default="")))
    return None


def _without_source(lines: Iterable[str]) -> Iterator[str]:
    """Without the code that tracebacks quote: a message in it has the names of variables for values."""
    frame_at: int | None = None
    for line in lines:
        frame = _FRAME.search(line)
        is_quoted = frame is None and frame_at is not None and line[frame_at : frame_at + 2] == "  "
        if not is_quoted:
            yield line
        frame_at = frame.start() if frame else None


def _sentence(meaning: Meaning, words: dict[str, str]) -> str:
    """One sentence without the blanks of groups that did not take part."""
    free = words.get("free")
    of = f", {free} of {words['total']} are free" if free else ""
    if words.get("most"):
        words["most"] = f" to {words['most']} or less"
    text = " ".join(meaning.says.format(**words, of=of).split())
    return text.replace(" : ", ": ").replace(" ;", ";")
