"""Reads other stacks of the same back end, for stack references.

Owns: how a reference names a stack. Promises: reads only; secrets stay secrets. Never: takes a lock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickover.engine.secrets import Keyring
from tickover.engine.state import Deployment
from tickover.engine.urn import STACK_TYPE
from tickover.engine.values import PropertyMap
from tickover.errors import Exit, TickoverError

if TYPE_CHECKING:
    from tickover.engine.request import Request


@dataclass(frozen=True, slots=True)
class SameBackend:
    """The stacks that lie where this operation's stack lies."""

    request: Request

    async def outputs(self, name: str) -> PropertyMap:
        deployment = await asyncio.to_thread(self._load, name)
        found = (r.outputs for r in deployment.resources if r.type == STACK_TYPE and not r.delete)
        return dict(next(found, {}))

    async def resource_outputs(self, name: str) -> PropertyMap:
        deployment = await asyncio.to_thread(self._load, name)
        return {
            r.urn: {"type": r.type, "id": r.id, "outputs": r.outputs}
            for r in deployment.resources
            if not r.delete
        }

    def _load(self, name: str) -> Deployment:
        parts = name.split("/")
        project = parts[-2] if len(parts) > 1 else self.request.project.name
        stack, backend = parts[-1], self.request.backend
        if not backend.exists(project, stack):
            raise TickoverError(
                "stack-not-found",
                "Referenced stack does not exist",
                f"The back end has no stack {stack!r} of project {project!r}.",
                address=name,
                hint="tickover stack ls",
                exit_code=Exit.STACK_NOT_FOUND,
            )
        return backend.load(project, stack, Keyring(self.request.passphrase)).deployment
