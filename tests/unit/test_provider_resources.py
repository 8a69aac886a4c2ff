"""The resource classes: names, and that classes, handlers and models say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tickover.provider import resources
from tickover.provider.names import camel
from tickover.provider.provider import HANDLERS
from tickover.provider.resources import CLASSES, FcResource, output_names
from tickover.provider.schema import package_schema

ROOT = Path(__file__).parents[2]
ARGS = {cls: getattr(resources, f"{cls.__name__}Args") for cls in CLASSES}
# An older spelling of defaultTarget; the class offers one spelling only.
NOT_OFFERED = {"target", "isE2B"}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_arguments_are_the_inputs_of_the_model(cls: type[FcResource]) -> None:
    handler = HANDLERS[cls.token]
    declared = {camel(name): str(hint) for name, hint in ARGS[cls].__annotations__.items()}
    assert set(declared) == set(handler.input_names) - NOT_OFFERED
    required = {name for name, hint in declared.items() if "Required[" in hint}
    assert required == {(f.alias or n) for n, f in handler.model.model_fields.items() if f.is_required()}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_outputs_are_inputs_and_what_only_the_api_knows(cls: type[FcResource]) -> None:
    handler = HANDLERS[cls.token]
    offered = {camel(name) for name in output_names(cls)}
    assert offered <= set(handler.output_names)
    assert set(handler.input_names) - NOT_OFFERED <= offered


def test_every_type_has_a_class() -> None:
    assert {cls.token for cls in CLASSES} == set(HANDLERS)


@pytest.mark.parametrize(
    ("python", "wire"),
    [
        ("memory_size", "memorySize"),
        ("cpu", "cpu"),
        ("always_allocate_gpu", "alwaysAllocateGPU"),
        ("customDNS", "customDNS"),
        ("custom_dns", "customDNS"),
        ("custom_container_config.command[0]", "customContainerConfig.command[0]"),
    ],
)
def test_names(python: str, wire: str) -> None:
    assert camel(python) == wire


def test_names_change_and_nested_user_keys_do_not() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.provider_mocked_program"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    said = json.loads(done.stdout)
    assert said["seen"] == {"url": {"urlInternet": "http://here"}, "memory": 2048}
    assert said["function"] == {
        "functionName": "chat-dev",
        "runtime": "custom-container",
        "handler": "x",
        "memorySize": 2048,
        "environmentVariables": {"memory_size": "stays"},
    }


def test_an_argument_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="Alias has no argument vresion_id"):
        resources.Alias("a", function_name="f", alias_name="live", vresion_id="1")  # type: ignore[call-arg]


def test_schema_is_closed_and_names_every_property() -> None:
    schema = package_schema(HANDLERS, "0.1.0")
    assert set(schema["resources"]) == set(HANDLERS)
    refs: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            refs.update([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    assert refs <= {f"#/types/{token}" for token in schema["types"]} | {"pulumi.json#/Any"}
    for token, handler in HANDLERS.items():
        assert set(schema["resources"][token]["properties"]) == set(handler.output_names)
    pool = schema["resources"]["tickover:fc:ProvisionConfig"]["inputProperties"]
    assert pool["alwaysAllocateGPU"] == {"type": "boolean"}
    assert pool["qualifier"]["willReplaceOnChanges"]
    assert schema["types"]["tickover:fc:CertConfig"]["properties"]["privateKey"]["secret"]
