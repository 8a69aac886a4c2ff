"""A plan as a file, to be applied later: exactly as it is, or not at all.

Owns: the bytes of a saved plan, and the errors about one. Promises: secrets leave only encrypted; a
damaged, changed or foreign file is refused; pure. Never: decides whether the world moved (see `planbinding`)
or what departs (see `plandeparture`), or applies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tickover.engine.plan import Op
from tickover.engine.planbinding import Binding, bind, moved, program_digest, program_files
from tickover.engine.plandeparture import departure, unseen
from tickover.engine.planrecord import PlannedGoal, PlannedResource, SavedPlan, planned_goal, saved_plan
from tickover.engine.secrets import Crypter
from tickover.engine.state import SecretsProvider
from tickover.engine.stateio import CrypterFor
from tickover.engine.statevalue import props_from_json, props_to_json, value_from_json, value_to_json
from tickover.engine.values import Archive, ResourceReference, Secret, Unknown
from tickover.engine.wire import UNKNOWN_STRING
from tickover.errors import Exit, TickoverError

__all__ = [
    "Binding",
    "PlannedGoal",
    "PlannedResource",
    "SavedPlan",
    "bind",
    "departed",
    "departure",
    "from_bytes",
    "moved",
    "planned_goal",
    "program_digest",
    "program_files",
    "refused",
    "saved_plan",
    "to_bytes",
    "unseen",
]

KIND: Final = "tickover-saved-plan"
FORMAT_VERSION: Final = "1.0"


def departed(urn: str, why: str, *, stack: str = "") -> TickoverError:
    """The error for a run that would leave its plan."""
    return TickoverError(
        "plan-departed",
        "The run departs from its plan",
        f"A plan applies exactly or not at all: {why}. What was applied before this is in the state. "
        "Make a new plan.",
        address=urn,
        hint=_hint(stack),
    )


def refused(plan: SavedPlan, reasons: Iterable[str], file: str = "") -> TickoverError:
    """The error for a plan whose world moved (see `moved`)."""
    lines = "".join(f"\n  {reason}" for reason in reasons)
    when = f" of {plan.created}" if plan.created else ""
    return TickoverError(
        "stale-plan",
        "Plan is out of date",
        f"The plan{when} does not fit what is there now, so nothing was changed:{lines}",
        address=file,
        hint=_hint(plan.binding.stack, file),
    )


def _hint(stack: str, file: str = "") -> str:
    named = f" -s {stack}" if stack else ""
    return f"tickover preview{named} --save-plan {file or 'FILE'}"


# --- the file ------------------------------------------------------------------------------------------


def to_bytes(plan: SavedPlan, crypter: Crypter) -> bytes:
    """The file: readable JSON, secrets under crypter."""
    body = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "project": plan.binding.project,
        "stack": plan.binding.stack,
        "created": plan.created,
        "binding": _binding_to_json(plan.binding, crypter),
        "options": dict(plan.options),
        "resources": [_resource_to_json(r, crypter) for r in plan.resources.values()],
    }
    # Asked for last: a crypter without a salt makes one when the first secret comes by.
    if (provider := crypter.provider) is not None:
        body["secrets_provider"] = {"type": provider.type, "state": dict(provider.state)}
    body["checksum"] = _checksum(body)
    text = json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes, crypter: Crypter | CrypterFor, file: str = "") -> SavedPlan:
    """The plan in a file. Raises TickoverError ``bad-plan`` for anything else. file: its name, for errors.

    crypter: the stack's, or what gives the crypter for the secrets provider that the file names
    (`Keyring.for_provider`).
    """
    body = _document(data, file)
    recorded = body.pop("checksum", None)
    if recorded != _checksum(body):
        raise _bad(file, "it was changed or damaged after it was written (its checksum does not match)")
    try:
        own = crypter(_provider(body)) if callable(crypter) else crypter
        resources = [_resource_from_json(raw, own) for raw in body["resources"]]
        return SavedPlan(
            binding=_binding_from_json(body, own),
            created=str(body["created"]),
            options=dict(body["options"]),
            resources={r.urn: r for r in resources},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _bad(file, f"a field has another form ({type(error).__name__}: {error})") from error
    except TickoverError as error:
        if error.code == "bad-secret":
            raise _bad(file, "its secrets are under another key than this stack's") from error
        if error.code != "bad-state":
            raise
        raise _bad(file, error.detail) from error


def _provider(body: Mapping[str, Any]) -> SecretsProvider | None:
    raw = body.get("secrets_provider")
    return SecretsProvider(str(raw["type"]), dict(raw["state"])) if raw else None


def _document(data: bytes, file: str) -> dict[str, Any]:
    try:
        body = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise _bad(file, f"it is not JSON ({error})") from error
    if not isinstance(body, dict) or body.get("kind") != KIND:
        hint = ""
        if isinstance(body, dict) and "resourcePlans" in body:
            hint = ": it is one of `pulumi preview --save-plan`, which only `pulumi up --plan` reads"
        raise _bad(file, f"it is not a plan that tickover saved{hint}")
    version = body.get("format_version")
    if not isinstance(version, str) or version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise _bad(file, f"its format version is {version!r}; this tickover reads {FORMAT_VERSION}")
    return body


def _bad(file: str, why: str) -> TickoverError:
    return TickoverError(
        "bad-plan",
        "Plan file cannot be used",
        f"{file or 'The file'}: {why}.",
        address=file,
        hint=_hint("", file),
        exit_code=Exit.CONFIGURATION,
    )


def _checksum(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _binding_to_json(binding: Binding, crypter: Crypter) -> dict[str, Any]:
    # Whoever has the salt can try values; only who may read the secrets may try them.
    salt = Secret(binding.config_salt) if binding.has_secret_config else binding.config_salt
    return {
        "state": {"digest": binding.state, "time": binding.state_time, "by": binding.state_by},
        "config": {"salt": value_to_json(salt, crypter), "digests": dict(binding.config)},
        "program": dict(binding.program),
        "providers": dict(binding.providers),
        "tickover": binding.tool,
    }


def _binding_from_json(body: Mapping[str, Any], crypter: Crypter) -> Binding:
    raw = body["binding"]
    salt = value_from_json(raw["config"]["salt"], crypter)
    return Binding(
        project=str(body["project"]),
        stack=str(body["stack"]),
        state=str(raw["state"]["digest"]),
        config=dict(raw["config"]["digests"]),
        config_salt=salt.value if isinstance(salt, Secret) else str(salt),
        has_secret_config=isinstance(salt, Secret),
        program=dict(raw["program"]),
        providers=dict(raw["providers"]),
        tool=str(raw["tickover"]),
        state_time=str(raw["state"].get("time") or ""),
        state_by=str(raw["state"].get("by") or ""),
    )


def _resource_to_json(resource: PlannedResource, crypter: Crypter) -> dict[str, Any]:
    goal = resource.goal
    return {
        "urn": resource.urn,
        "ops": [op.value for op in resource.ops],
        "reasons": list(resource.reasons),
        "goal": None if goal is None else _goal_to_json(goal, crypter),
        "outputs": _props(resource.outputs, crypter),
    }


def _goal_to_json(goal: PlannedGoal, crypter: Crypter) -> dict[str, Any]:
    return {
        "type": goal.type,
        "name": goal.name,
        "custom": goal.custom,
        "parent": goal.parent,
        "provider": goal.provider,
        "inputs": _props(goal.inputs, crypter),
        "dependencies": list(goal.dependencies),
        "property_dependencies": {k: list(v) for k, v in sorted(goal.property_dependencies.items())},
        "options": _props(goal.options, crypter),
    }


def _props(props: Mapping[str, Any], crypter: Crypter) -> Any:
    return props_to_json({k: _keeping_unknown_ids(v) for k, v in props.items()}, crypter)


def _keeping_unknown_ids(value: Any) -> Any:
    """A state never has a reference to what has no id yet, and its encoding drops that; a plan does."""
    match value:
        case ResourceReference(id=Unknown()):
            return ResourceReference(value.urn, UNKNOWN_STRING, value.package_version)
        case Secret():
            return Secret(_keeping_unknown_ids(value.value))
        case list() | tuple():
            return [_keeping_unknown_ids(v) for v in value]
        case dict():
            return {k: _keeping_unknown_ids(v) for k, v in value.items()}
        case Archive(assets=assets) if assets is not None:
            kept = {k: _keeping_unknown_ids(v) for k, v in assets.items()}
            return Archive(kept, value.path, value.uri, value.hash)
        case _:
            return value


def _resource_from_json(raw: Mapping[str, Any], crypter: Crypter) -> PlannedResource:
    goal = raw["goal"]
    return PlannedResource(
        urn=str(raw["urn"]),
        ops=tuple(Op(op) for op in raw["ops"]),
        goal=None if goal is None else _goal_from_json(goal, crypter),
        reasons=tuple(raw["reasons"]),
        outputs=props_from_json(raw["outputs"], crypter),
    )


def _goal_from_json(raw: Mapping[str, Any], crypter: Crypter) -> PlannedGoal:
    return PlannedGoal(
        type=str(raw["type"]),
        name=str(raw["name"]),
        custom=bool(raw["custom"]),
        parent=str(raw["parent"]),
        inputs=props_from_json(raw["inputs"], crypter),
        provider=str(raw["provider"]),
        dependencies=tuple(raw["dependencies"]),
        property_dependencies={k: tuple(v) for k, v in raw["property_dependencies"].items()},
        options=props_from_json(raw["options"], crypter),
    )
