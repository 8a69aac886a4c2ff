"""A program against the SDK's own mocks, run as a process of its own: the mocks leave event loops behind.

Prints what was registered and what the outputs held, as JSON.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pulumi

from tickover.provider import resources


class Recorder(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.registered: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.registered[args.typ] = dict(args.inputs)
        return "id", {**args.inputs, "httpTrigger": {"urlInternet": "http://here"}}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        return {}


def declare(seen: dict[str, Any]) -> pulumi.Output[Any]:
    trigger = resources.Trigger(
        "t",
        pulumi.ResourceOptions(ignore_changes=["trigger_config"]),
        function_name="chat-dev",
        trigger_name="http",
        trigger_type="http",
        trigger_config="{}",
    )
    function = resources.Function(
        "f",
        function_name="chat-dev",
        runtime="custom-container",
        handler="x",
        memory_size=2048,
        environment_variables={"memory_size": "stays"},
    )

    def look(values: list[Any]) -> None:
        seen["url"], seen["memory"] = values

    return pulumi.Output.all(trigger.http_trigger, function.memory_size).apply(look)


if __name__ == "__main__":
    asyncio.set_event_loop(asyncio.new_event_loop())
    recorder, seen = Recorder(), {}
    pulumi.runtime.set_mocks(recorder)
    pulumi.runtime.test(lambda: declare(seen))()
    print(json.dumps({"seen": seen, "function": recorder.registered["tickover:fc:Function"]}))
