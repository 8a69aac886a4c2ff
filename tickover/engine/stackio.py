"""``stack export`` and ``stack import``: a stack's whole memory as one document.

Owns: what a document must be to become a stack's state. Promises: an import is refused, with every reason,
before anything is written. Never: shows a secret unless asked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tickover.engine.backend import FileBackend
from tickover.engine.integrity import violations
from tickover.engine.secrets import Keyring
from tickover.engine.state import Deployment
from tickover.engine.stateio import deployment_from_export, export_document
from tickover.engine.urn import is_urn, parse_urn
from tickover.errors import Exit, TickoverError


def export_stack(
    backend: FileBackend, project: str, stack: str, keyring: Keyring, show_secrets: bool = False
) -> dict[str, Any]:
    """``{"version": 3, "deployment": {…}}``. Raises TickoverError (exit 6) if the stack has no state."""
    loaded = backend.load(project, stack, keyring)
    if not loaded.exists:
        raise TickoverError(
            "stack-not-found",
            "Stack not found",
            f"{project} has no state of {stack!r}.",
            address=stack,
            hint=f"tickover up -s {stack}",
            exit_code=Exit.STACK_NOT_FOUND,
        )
    crypter = keyring.for_provider(loaded.deployment.secrets_provider)
    return export_document(loaded.deployment, crypter, show_secrets)


def import_stack(
    backend: FileBackend,
    project: str,
    stack: str,
    document: Mapping[str, Any],
    keyring: Keyring,
    force: bool = False,
) -> Deployment:
    """Makes document the stack's state; the caller holds the lock. force: even if it is not sound.

    Pending operations are dropped, as the CLI does: an import is how a person settles them.
    """
    deployment = replace(deployment_from_export(document, keyring.for_provider), pending_operations=())
    problems = [*_foreign(deployment, project, stack), *(str(v) for v in violations(deployment))]
    if problems and not force:
        listing = "\n".join(f"  {problem}" for problem in problems[:10])
        raise TickoverError(
            "bad-import",
            "Document cannot be imported",
            f"It would not be a sound state of {project}/{stack}:\n{listing}",
            address=stack,
            hint="tickover stack import --force",
            exit_code=Exit.CONFIGURATION,
        )
    return backend.save(project, stack, deployment, keyring)


def _foreign(deployment: Deployment, project: str, stack: str) -> list[str]:
    pieces = [(r.urn, parse_urn(r.urn)) for r in deployment.resources if is_urn(r.urn)]
    return [
        f"{urn}: it is of {p.project}/{p.stack}"
        for urn, p in pieces
        if (p.project, p.stack) != (project, stack)
    ]
