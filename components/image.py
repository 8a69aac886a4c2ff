"""RegistryImage: which image, from where, and whether it can change under us.

Owns: the choice between an image and a local process. Promises: `reference` is what FC gets. Never: pulls
or pushes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi

from tickover.errors import ConfigError
from tickover.imageref import ImageReference, parse_reference

from .checks import at_most_one

PROCESS_REFERENCE: Final = "process://local"


@dataclass(frozen=True, slots=True)
class RegistryImageArgs:
    """Exactly one of both.

    reference: ``registry/repository:tag`` or ``…@sha256:…``.
    process: no image; the host runs the command as a local process.
    """

    reference: str = ""
    process: bool = False


class RegistryImage(pulumi.ComponentResource):
    """An image by reference.

    reference: what FC's customContainerConfig.image gets. is_pinned: by digest or version tag.
    """

    reference: pulumi.Output[str]
    is_pinned: bool

    def __init__(
        self, name: str, args: RegistryImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        at_most_one(name, reference=args.reference, process=args.process)
        reference, pinned = _resolve(name, args)
        super().__init__("tickover:index:RegistryImage", name, {"reference": reference}, opts)
        self.is_process = args.process
        self.is_pinned = pinned
        self.reference = pulumi.Output.from_input(reference)
        self.register_outputs({"reference": reference, "pinned": pinned})


def named_reference(text: str) -> ImageReference:
    """The parts of a reference that says which content it means. Raises ValueError saying what is wrong."""
    parsed = parse_reference(text)
    if not parsed.tag and not parsed.digest:
        raise ValueError("it names no tag and no digest, which means latest; name a version")
    return parsed


def _resolve(name: str, args: RegistryImageArgs) -> tuple[str, bool]:
    if args.process:
        return PROCESS_REFERENCE, True
    try:
        parsed = named_reference(args.reference)
    except ValueError as error:
        raise ConfigError(
            "bad-image", "Image reference is not valid", f"{name}: {args.reference!r}: {error}.", address=name
        ) from error
    return args.reference, parsed.is_pinned
