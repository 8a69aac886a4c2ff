"""The last words of model servers, in the form in which they print them, and the sentence for each."""

import pytest

from tickover.host.diagnosis import Cause, diagnose

TORCH = (
    "(EngineCore_DP0 pid=211) ERROR 11-20 09:14:02 [core.py:710] torch.OutOfMemoryError: CUDA out of memory. "
    "Tried to allocate 2.03 GiB. GPU 0 has a total capacity of 23.64 GiB of which 1.12 GiB is free. "
    "Including "
    "non-PyTorch memory, this process has 22.50 GiB memory in use."
)
BUSY_CARD = (
    "(EngineCore_DP0 pid=88) ValueError: Free memory on device (10.51/23.64 GiB) on startup is less "
    "than desired "
    "GPU memory utilization (0.9, 21.28 GiB). Decrease GPU memory utilization or reduce GPU memory "
    "used by other "
    "processes."
)
NO_BLOCKS = (
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
    "initializing the engine."
)
SMALL_CACHE = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB "
    "KV cache is "
    "needed, which is larger than the available KV cache memory (4.52 GiB). Based on the available "
    "memory, the "
    "estimated maximum model length is 37024."
)
SMALL_CACHE_BEFORE = (
    "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that "
    "can be stored "
    "in KV cache (9120). Try increasing `gpu_memory_utilization` or decreasing `max_model_len`."
)
LLAMA_MEMORY = (
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 7605.33 MiB on device 0: "
    "cudaMalloc failed: out of memory"
)
REPO_ID = (
    "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
    "'namespace/repo_name': "
    "'/mnt/models/qwen3-8b'. Use `repo_type` argument if needed."
)
REPO_NAME = (
    "huggingface_hub.errors.HFValidationError: Repo id must use alphanumeric chars or '-', '_', "
    "'.', '--' and '..' "
    "are forbidden, '-' and '.' cannot start or end the name, max length is 96: 'qwen3 8b'."
)
NO_CONFIG = (
    "OSError: /mnt/models/qwen3-8b does not appear to have a file named config.json. Checkout "
    "'https://huggingface.co//mnt/models/qwen3-8b/tree/main' for available files."
)
NO_FOLDER = (
    "  Value error, Invalid repository ID or local directory specified: '/mnt/models/qwn3'. "
    "[type=value_error, input_value=ArgsKwargs((), {...}), input_type=ArgsKwargs]"
)
NOT_ON_HUB = (
    "OSError: Qwen/Qwen9-8B is not a local folder and is not a valid model identifier listed on "
    "'https://huggingface.co/models'"
)
GONE_FROM_HUB = (
    "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1-6) Repository Not "
    "Found for url: https://huggingface.co/api/models/Qwen/Qwen9-8B."
)
OFFLINE = (
    "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find "
    "them in the "
    "cached files."
)
UVICORN = (
    "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use"
)
LLAMA_PORT = "srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080"
LIBCUDA = "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"
NO_DRIVER = (
    "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU "
    "and installed a "
    "driver from http://www.nvidia.com/Download/index.aspx"
)
KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"

CASES = [
    (TORCH, Cause.GPU_MEMORY, "2.03 GiB more were wanted, 1.12 GiB of 23.64 GiB are free; lower"),
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
        Cause.GPU_MEMORY,
        "20.00 MiB more",
    ),
    (BUSY_CARD, Cause.GPU_MEMORY, "too little free memory: 10.51 of 23.64 GiB; something else uses it"),
    (LLAMA_MEMORY, Cause.GPU_MEMORY, "7605.33 MiB more were wanted; offload fewer layers"),
    ("RuntimeError: CUDA error: out of memory", Cause.GPU_MEMORY, "the GPU has too little memory; lower"),
    (
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        Cause.GPU_MEMORY,
        "too little",
    ),
    (NO_BLOCKS, Cause.KV_CACHE, "no memory left for the KV cache"),
    (SMALL_CACHE, Cause.KV_CACHE, "one request of 131072 tokens; lower --max-model-len"),
    (SMALL_CACHE_BEFORE, Cause.KV_CACHE, "one request of 32768 tokens"),
    (
        "tickover: killed for using more than its memorySize, 4096 MB (/dev/shm is part of it)",
        Cause.HOST_MEMORY,
        "more than its memorySize of 4096 MB;",
    ),
    (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't "
        "allocate memory: "
        "you tried to allocate 90177536 bytes. Error code 12 (Cannot allocate memory)",
        Cause.HOST_MEMORY,
        "the host's memory ran out",
    ),
    (REPO_ID, Cause.MODEL_ABSENT, "there is no model at /mnt/models/qwen3-8b; check the path"),
    (REPO_NAME, Cause.MODEL_ABSENT, "(qwen3 8b)"),
    (NO_CONFIG, Cause.MODEL_ABSENT, "no model at /mnt/models/qwen3-8b;"),
    (NO_FOLDER, Cause.MODEL_ABSENT, "no model at /mnt/models/qwn3;"),
    (
        "OSError: Incorrect path_or_model_id: '/mnt/m/x'. Please provide",
        Cause.MODEL_ABSENT,
        "no model at /mnt/m/x;",
    ),
    (
        "RuntimeError: Cannot find any model weights with `/mnt/m/x`",
        Cause.MODEL_ABSENT,
        "no model at /mnt/m/x;",
    ),
    (
        "gguf_init_from_file: failed to open GGUF file '/mnt/m/q4.gguf' (No such file or directory)",
        Cause.MODEL_ABSENT,
        "no model at /mnt/m/q4.gguf;",
    ),
    (
        "srv    load_model: failed to load model, '/mnt/m/q4.gguf'",
        Cause.MODEL_ABSENT,
        "no model at /mnt/m/q4.gguf;",
    ),
    (
        "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/m/x/config.json'",
        Cause.MODEL_ABSENT,
        "no model at /mnt/m/x/config.json;",
    ),
    (NOT_ON_HUB, Cause.MODEL_ABSENT, "from a hub (Qwen/Qwen9-8B)"),
    (GONE_FROM_HUB, Cause.MODEL_ABSENT, "from a hub (Qwen/Qwen9-8B)"),
    (OFFLINE, Cause.MODEL_ABSENT, "from a hub (https://huggingface.co)"),
    (
        "vllm: error: unrecognized arguments: --enable-magic --more=2",
        Cause.ARGUMENTS,
        "does not know: --enable-magic --more=2",
    ),
    ("error: invalid argument: --n-gpu-leyers", Cause.ARGUMENTS, "does not take: --n-gpu-leyers"),
    (
        "api_server.py: error: argument --dtype: invalid choice: 'int3' (choose from auto, half)",
        Cause.ARGUMENTS,
        "does not take: --dtype invalid choice: 'int3'",
    ),
    (UVICORN, Cause.PORT_TAKEN, "is taken; its server has to listen on ${port}"),
    ("OSError: [Errno 98] Address already in use", Cause.PORT_TAKEN, "a port that it wants is taken"),
    (LLAMA_PORT, Cause.PORT_TAKEN, "a port that it wants is taken"),
    ("exec /usr/local/bin/vllm: exec format error", Cause.ARCHITECTURE, "another processor architecture"),
    (
        "tickover: cannot run ./llama-server: Exec format error",
        Cause.ARCHITECTURE,
        "another processor architecture",
    ),
    (KERNEL, Cause.ARCHITECTURE, "no code for this type of GPU"),
    (LIBCUDA, Cause.NO_GPU, "it sees no GPU"),
    (NO_DRIVER, Cause.NO_GPU, "it sees no GPU"),
    ("RuntimeError: Failed to infer device type", Cause.NO_GPU, "it sees no GPU"),
    (
        "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected",
        Cause.NO_GPU,
        "it sees no GPU",
    ),
    (
        "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime "
        "version",
        Cause.NO_GPU,
        "NVIDIA driver is older",
    ),
    (
        "PermissionError: [Errno 13] Permission denied: '/mnt/models/qwen3-8b/model.safetensors'",
        Cause.PERMISSION,
        "it may not use /mnt/models/qwen3-8b/model.safetensors: permission denied",
    ),
    ("tickover: cannot run ./serve.sh: Permission denied", Cause.PERMISSION, "it may not use ./serve.sh:"),
    (
        "tickover: cannot run vlm: No such file or directory",
        Cause.COMMAND_ABSENT,
        "its command vlm does not exist;",
    ),
]


@pytest.mark.parametrize(("line", "cause", "said"), CASES)
def test_a_known_message_is_one_sentence_with_what_helps(line, cause, said):
    found = diagnose(["INFO 11-20 09:13:58 [utils.py:328] non-default args: {}", line, "Traceback ended"])
    assert found is not None and found.cause is cause
    assert said in found.sentence
    assert "\n" not in found.sentence and "{" not in found.sentence.replace("${port}", "")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["INFO:     Started server process [1]", "INFO:     Application startup complete."],
        ["tiny server, port 8000", "crashing as asked"],
        ["INFO memory profiling takes 2.1 seconds; model weights take 15.27GiB; the rest is KV cache"],
        ["WARNING: permission to use the cache folder is not asked for"],
    ],
)
def test_what_is_not_known_is_left_alone(lines):
    assert diagnose(lines) is None


def test_the_cause_counts_and_not_what_follows_from_it():
    lines = [
        TORCH,
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        "OSError: [Errno 98] Address already in use",
    ]
    found = diagnose(lines)
    assert found is not None and found.cause is Cause.GPU_MEMORY
