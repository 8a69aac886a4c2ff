"""The small model server of machines without a GPU: llama.cpp behind vLLM's flag names.

Owns: turning vLLM's flags into llama.cpp's parameters and running its HTTP server until SIGTERM or SIGINT.
Promises: the OpenAI API answers under the served model name; a mistake is one clear error, exit 2.
Never: fetches a model, listens before the model is loaded.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tickover.errors import ConfigError, Exit, TickoverError, render


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server runs with. names: served model names, each is answered to.

    own_template: render chats with the model's own template (needed for tool calls).
    """

    model: Path
    names: tuple[str, ...]
    host: str
    port: int
    max_model_len: int
    max_num_seqs: int
    own_template: bool = False


def parse(argv: Sequence[str]) -> Settings:
    """The settings in a command line. Raises ConfigError for values that cannot work."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tickover.llama_server",
        description="Serve a GGUF model over the OpenAI API with llama.cpp, with vLLM's flag names.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, type=Path, help="folder with one .gguf file, or the file")
    parser.add_argument("--served-model-name", nargs="+", metavar="NAME", help="default: the file's name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-model-len", type=int, default=2048, help="tokens of one request")
    parser.add_argument("--max-num-seqs", type=int, default=4, help="requests answered at a time")
    parser.add_argument(
        "--chat-template",
        choices=("plain", "own"),
        default="plain",
        help="plain: the turns and nothing else (default); own: the model's template, system prompt included",
    )
    given = parser.parse_args(argv)
    for flag, value, least in (
        ("--max-model-len", given.max_model_len, 16),
        ("--max-num-seqs", given.max_num_seqs, 1),
        ("--port", given.port, 0),
    ):
        if value < least:
            raise ConfigError("bad-flag", "Flag value is too small", f"{flag} is {value}; least is {least}.")
    model = find_model(given.model)
    return Settings(
        model=model,
        names=tuple(given.served_model_name or (model.stem,)),
        host=given.host,
        port=given.port,
        max_model_len=given.max_model_len,
        max_num_seqs=given.max_num_seqs,
        own_template=given.chat_template == "own",
    )


def find_model(path: Path) -> Path:
    """The .gguf file that path is or holds. Raises ConfigError."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ConfigError("bad-model", "Model file is not GGUF", f"{path} is not in GGUF format.")
        return path
    pull = "tickover model pull smollm2"
    if not path.exists():
        raise ConfigError("no-model", "Model path does not exist", f"There is no {path}.", hint=pull)
    found = sorted(path.glob("*.gguf"))
    if not found:
        raise ConfigError("no-model", "Model folder has no model", f"{path} has no .gguf file.", hint=pull)
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise ConfigError(
            "many-models", "Model folder is ambiguous", f"{path} has {names}. Name the file with --model."
        )
    return find_model(found[0])


def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(settings.model)
    params.model_alias = set(settings.names)
    params.n_parallel = settings.max_num_seqs
    params.n_ctx = settings.max_model_len * settings.max_num_seqs  # llama.cpp shares n_ctx among its slots
    params.kv_unified = False
    params.hostnames = [settings.host]
    params.port = settings.port
    params.endpoint_metrics = True
    params.ui = False
    # A 135M model quantised to 4 bits is thrown off course by the system prompt that its template adds:
    # asked for France's capital it answers right in every second try with it, in every try without.
    params.use_jinja = settings.own_template
    server = _start(xllamacpp, params, settings)
    # Until here the default action ends the process at once, which is right for a server that does not serve.
    waited_for = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    print(f"serving {settings.names[0]} at {server.listening_address}", file=sys.stderr, flush=True)  # noqa: T201
    signal.sigwait(waited_for)
    del server  # the destructor ends the main loop and joins its threads


def _start(xllamacpp: Any, params: Any, settings: Settings) -> Any:
    try:
        return xllamacpp.Server(params)
    except Exception as error:  # the binding raises bare RuntimeError; llama.cpp's own words are in the log
        raise TickoverError(
            "server-failed",
            "Model server did not start",
            f"llama.cpp could not serve {settings.model} at {settings.host}:{settings.port} ({error}). "
            "The port may be taken, or the file damaged; the lines above say which.",
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, serve, and return the exit code."""
    try:
        serve(parse(sys.argv[1:] if argv is None else argv))
    except TickoverError as error:
        print(f"error: {render(error)}", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    return int(Exit.OK)


if __name__ == "__main__":
    sys.exit(main())
