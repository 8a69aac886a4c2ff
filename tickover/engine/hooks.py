"""Hooks of the program around the steps of its resources.

Owns: the hooks registered in a run and the calls of them. Promises: hooks run in the order they are bound;
a failing hook is one TickoverError that names it; hooks that did not ask for dry runs are left out of them.
Never: decides what a failing hook means for its step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import alias_pb2, callback_pb2, resource_pb2

from tickover.engine import wire
from tickover.engine.callbacks import Callbacks
from tickover.engine.failures import Failures
from tickover.engine.state import ResourceState
from tickover.engine.urn import parse_urn
from tickover.engine.values import PropertyMap
from tickover.errors import Exit, TickoverError

MOST_RETRIES: Final = 100
ON_ERROR: Final = "OnError"
# Name of a binding in a registration → kind, as the state names it.
KINDS: Final[Mapping[str, str]] = {
    "before_create": "BeforeCreate",
    "after_create": "AfterCreate",
    "before_update": "BeforeUpdate",
    "after_update": "AfterUpdate",
    "before_delete": "BeforeDelete",
    "after_delete": "AfterDelete",
    "on_error": ON_ERROR,
}


def bound(binding: resource_pb2.RegisterResourceRequest.ResourceHooksBinding) -> dict[str, tuple[str, ...]]:
    """Hook names by kind."""
    found = {kind: tuple(getattr(binding, name)) for name, kind in KINDS.items()}
    return {kind: names for kind, names in found.items() if names}


@dataclass(frozen=True, slots=True)
class _Hook:
    callback: callback_pb2.Callback
    on_dry_run: bool
    ignores_errors: bool


@dataclass(slots=True)
class Hooks:
    """The hooks of one run."""

    callbacks: Callbacks
    failures: Failures
    dry_run: bool
    _hooks: dict[str, _Hook] = field(default_factory=dict)
    _on_error: dict[str, callback_pb2.Callback] = field(default_factory=dict)

    def register(self, request: resource_pb2.RegisterResourceHookRequest) -> None:
        self._claim(request.name)
        self._hooks[request.name] = _Hook(request.callback, request.on_dry_run, request.ignore_errors)

    def register_on_error(self, request: resource_pb2.RegisterErrorHookRequest) -> None:
        self._claim(request.name)
        self._on_error[request.name] = request.callback

    def _claim(self, name: str) -> None:
        if not name or name in self._hooks or name in self._on_error:
            what = "has no name" if not name else "is registered twice"
            raise TickoverError("bad-hook", "Hook cannot be registered", f"A hook {what}.", name)

    async def run(
        self, kind: str, subject: ResourceState, old: ResourceState | None, new: ResourceState | None
    ) -> None:
        """Run the hooks of kind that subject binds. Raises TickoverError ``hook-failed``."""
        for name in _names(subject, kind):
            hook = self._hooks.get(name)
            if hook is None:
                raise _failed(subject, kind, name, "it was not registered in this run")
            if self.dry_run and not hook.on_dry_run:
                continue
            is_after = kind.startswith("After")
            request = resource_pb2.ResourceHookRequest(
                urn=subject.urn,
                id=subject.id,
                name=parse_urn(subject.urn).name,
                type=subject.type,
                new_inputs=_struct(new.inputs if new else None),
                old_inputs=_struct(old.inputs if old else None),
                new_outputs=_struct(new.outputs if new and is_after else None),
                old_outputs=_struct(old.outputs if old else None),
                old_options=_options(old),
                new_options=_options(new),
            )
            try:
                answer = await self.callbacks.invoke(
                    hook.callback, request, resource_pb2.ResourceHookResponse
                )
                if answer.error:
                    raise _failed(subject, kind, name, answer.error)
            except TickoverError as error:
                if not hook.ignores_errors:
                    raise (
                        error if error.code == "hook-failed" else _failed(subject, kind, name, error.detail)
                    ) from error
                self.failures.warn(subject.urn, f"hook {name!r} ({kind}) failed: {error.detail}")

    async def wants_retry(
        self,
        operation: str,
        subject: ResourceState,
        old: ResourceState | None,
        new: ResourceState | None,
        errors: Sequence[str],
    ) -> bool:
        """True if an error hook of subject asks for another try. errors: newest first."""
        retry = False
        for name in _names(subject, ON_ERROR):
            callback = self._on_error.get(name)
            if callback is None:
                raise _failed(subject, ON_ERROR, name, "it was not registered in this run")
            request = resource_pb2.ErrorHookRequest(
                urn=subject.urn,
                id=subject.id,
                name=parse_urn(subject.urn).name,
                type=subject.type,
                new_inputs=_struct(new.inputs if new else None),
                old_inputs=_struct(old.inputs if old else None),
                old_outputs=_struct(old.outputs if old else None),
                failed_operation=operation,
                errors=errors,
                old_options=_options(old),
                new_options=_options(new),
            )
            answer = await self.callbacks.invoke(callback, request, resource_pb2.ErrorHookResponse)
            if answer.error:
                raise _failed(subject, ON_ERROR, name, answer.error)
            retry = retry or answer.retry
        if retry and len(errors) >= MOST_RETRIES:
            self.failures.warn(subject.urn, f"the most retries that hooks may ask for ({MOST_RETRIES})")
            return False
        return retry


def has_hooks(resource: ResourceState, kind: str) -> bool:
    """True if resource binds hooks of kind."""
    return bool(_names(resource, kind))


def _names(resource: ResourceState, kind: str) -> Sequence[str]:
    hooks = resource.extra.get("resourceHooks")
    return tuple(hooks.get(kind, ())) if isinstance(hooks, Mapping) else ()


def _struct(properties: PropertyMap | None) -> Struct | None:
    return None if properties is None else wire.encode(properties)


def _options(state: ResourceState | None) -> resource_pb2.ResourceOptions | None:
    if state is None:
        return None
    fields = resource_pb2.ResourceOptions.DESCRIPTOR.fields_by_name
    values = {
        "protect": state.protect or None,
        "retain_on_delete": state.retain_on_delete or None,
        "depends_on": list(state.dependencies),
        "ignore_changes": list(state.ignore_changes),
        "replace_on_changes": list(state.replace_on_changes),
        "additional_secret_outputs": list(state.additional_secret_outputs),
        "deleted_with": state.deleted_with,
        "replace_with": list(state.extra.get("replaceWith", ())),
        "provider": state.provider,
        "aliases": [alias_pb2.Alias(urn=urn) for urn in state.aliases],
        "import": state.import_id,
        "hide_diff": list(state.extra.get("hideDiff", ())),
    }
    given: dict[str, Any] = {k: v for k, v in values.items() if v and k in fields}
    return resource_pb2.ResourceOptions(**given)


def _failed(subject: ResourceState, kind: str, name: str, why: str) -> TickoverError:
    return TickoverError(
        "hook-failed",
        "Hook failed",
        f"{kind} hook {name!r} failed: {why}",
        subject.urn,
        exit_code=Exit.RESOURCE,
    )
