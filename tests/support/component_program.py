"""Runs a Pulumi program against a recording monitor, in a process of its own (the SDK has global state).

`run` is what tests call; `main` is the child. A registration is recorded as the request says it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECRET = "[secret]"


@dataclass(frozen=True)
class Ran:
    """resources: in registration order; error: the TickoverError that ended the program, or None."""

    resources: tuple[Mapping[str, Any], ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    log: str = ""

    def one(self, type_token: str, name: str | None = None) -> Mapping[str, Any]:
        """The only resource of a type (and name)."""
        found = [r for r in self.resources if r["type"] == type_token and name in (None, r["name"])]
        assert len(found) == 1, f"{type_token}: {len(found)} registered"
        return found[0]


def run(
    program: str = "",
    *,
    config: Mapping[str, Any] | None = None,
    stack: str = "dev",
    preview: bool = False,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run program (Python source; empty: the project's __main__.py) with this config (key -> value)."""
    task = {"program": program, "config": dict(config or {}), "stack": stack, "preview": preview}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.component_program"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    return Ran(tuple(result["resources"]), result["outputs"], result["error"], done.stderr)


def main() -> None:
    import logging
    import runpy

    import pulumi
    from pulumi.runtime import mocks as pulumi_mocks
    from pulumi.runtime import rpc
    from pulumi.runtime.stack import run_pulumi_func
    from pulumi.runtime.sync_await import _sync_await

    from tickover.errors import TickoverError

    task = json.loads(sys.stdin.read())
    recorded: list[dict[str, Any]] = []
    answers = {
        "tickover:fc:FunctionVersion": {"versionId": "7"},
        "tickover:fc:Trigger": {"httpTrigger": {"urlInternet": "http://host/fn/x.live"}},
    }

    class Answers(pulumi_mocks.Mocks):
        def call(self, args: Any) -> Any:
            return {}

        def new_resource(self, args: Any) -> tuple[str, dict[str, Any]]:
            return f"{args.name}-id", {**_plain(args.inputs, rpc), **answers.get(args.typ, {})}

    class Monitor(pulumi_mocks.MockMonitor):
        def RegisterResource(self, request: Any) -> Any:
            if request.type != "pulumi:pulumi:Stack":
                recorded.append(
                    {
                        "type": request.type,
                        "name": request.name,
                        "custom": request.custom,
                        "parent": "::".join(request.parent.rpartition("$")[2].split("::")[-2:]),
                        "provider": request.provider,
                        "retain": request.retainOnDelete,
                        "dependencies": sorted(d.rpartition("::")[2] for d in request.dependencies),
                        "inputs": _masked(rpc.deserialize_properties(request.object), rpc),
                        "outputs": None,
                        "urn": self.make_urn(request.parent, request.type, request.name),
                    }
                )
            return super().RegisterResource(request)

        def RegisterResourceOutputs(self, request: Any) -> Any:
            for entry in recorded:
                if entry["urn"] == request.urn:
                    entry["outputs"] = _masked(rpc.deserialize_properties(request.outputs), rpc)
            return super().RegisterResourceOutputs(request)

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    config = {f"tickover:{key}": _text(value) for key, value in task["config"].items()}
    pulumi.runtime.set_all_config(config)
    answers_mock = Answers()
    pulumi_mocks.set_mocks(
        answers_mock, "tickover", task["stack"], task["preview"], monitor=Monitor(answers_mock)
    )
    outputs: dict[str, Any] = {}
    error: dict[str, Any] | None = None
    pulumi.export = outputs.__setitem__

    def program() -> None:
        if task["program"]:
            exec(compile(task["program"], "<program>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")

    async def resolved() -> Any:
        return await pulumi.Output.from_input(outputs).future()

    try:
        _sync_await(run_pulumi_func(program))
    except TickoverError as failure:
        error = {**failure.as_json(), "text": str(failure)}
        outputs = {}
    final = {"resources": recorded, "outputs": _sync_await(resolved()), "error": error}
    print(json.dumps(final, default=str), flush=True)
    os._exit(0)  # the SDK leaves a loop and threads that are not ours to unwind


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any, rpc: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return _plain(rpc.unwrap_rpc_secret(value), rpc)
    if isinstance(value, dict):
        return {k: _plain(v, rpc) for k, v in value.items()}
    return [_plain(v, rpc) for v in value] if isinstance(value, list) else value


def _masked(value: Any, rpc: Any) -> Any:
    """As `_plain`, but secrets are wrapped as [SECRET, value] so that tests can tell."""
    if rpc.is_rpc_secret(value):
        return [SECRET, _plain(value, rpc)]
    if isinstance(value, dict):
        return {k: _masked(v, rpc) for k, v in value.items()}
    return [_masked(v, rpc) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
