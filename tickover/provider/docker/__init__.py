"""The built-in subset of Pulumi's docker provider.

Owns: the public name `factory`. Promises: importing it loads no HTTP library. Never: is used where a real
docker plugin is found.
"""

from tickover.provider.docker.provider import factory

__all__ = ["factory"]
