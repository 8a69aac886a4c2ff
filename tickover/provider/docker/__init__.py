"""The built-in subset of Pulumi's docker provider.

Owns: the public name `factory`. Promises: a stack without docker resources loads none of it. Never: is used
where a real docker plugin is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickover.engine.provider import Provider, ProviderLog


def factory(log: ProviderLog) -> Provider:
    """A provider of package docker."""
    from tickover.provider.docker.provider import DockerProvider

    return DockerProvider(log)
