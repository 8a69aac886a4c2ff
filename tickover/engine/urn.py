"""URNs: the one name a resource has in a stack.

Owns: the text form ``urn:pulumi:<stack>::<project>::<parent types joined by $><type>::<name>``.
Promises: `make_urn` and `parse_urn` are inverse; the stack's own type never enters a chain. Never:
looks at state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tickover.errors import TickoverError

STACK_TYPE: Final = "pulumi:pulumi:Stack"
PROVIDER_TYPE_PREFIX: Final = "pulumi:providers:"
_PREFIX: Final = "urn:pulumi:"
_CHAIN: Final = "$"


@dataclass(frozen=True, slots=True)
class Urn:
    """The pieces of a URN. qualified_type: the chain of types from the outermost component down."""

    stack: str
    project: str
    qualified_type: str
    name: str

    @property
    def type(self) -> str:
        """The resource's own type token."""
        return self.qualified_type.rsplit(_CHAIN, 1)[-1]

    @property
    def parent_types(self) -> tuple[str, ...]:
        """Types of the ancestors, outermost first; empty below the stack."""
        return tuple(self.qualified_type.split(_CHAIN)[:-1])

    @property
    def is_provider(self) -> bool:
        return is_provider_type(self.type)

    def __str__(self) -> str:
        return f"{_PREFIX}{self.stack}::{self.project}::{self.qualified_type}::{self.name}"


def parse_urn(text: str) -> Urn:
    """The pieces of text. Raises TickoverError ``bad-urn``. A name may hold ``::`` itself."""
    parts = text.removeprefix(_PREFIX).split("::", 3) if text.startswith(_PREFIX) else []
    if len(parts) != 4 or not parts[0] or not parts[2]:
        raise TickoverError(
            "bad-urn",
            "Not a URN",
            f"{text!r} is not of the form urn:pulumi:<stack>::<project>::<type>::<name>.",
        )
    return Urn(*parts)


def is_urn(text: str) -> bool:
    """True if `parse_urn` would accept text."""
    parts = text.removeprefix(_PREFIX).split("::", 3) if text.startswith(_PREFIX) else []
    return len(parts) == 4 and bool(parts[0]) and bool(parts[2])


def is_provider_type(type_token: str) -> bool:
    """True for ``pulumi:providers:<package>``."""
    return type_token.startswith(PROVIDER_TYPE_PREFIX)


def is_default_provider(urn: str) -> bool:
    """True for a provider that the engine declares for itself."""
    parts = parse_urn(urn)
    return parts.is_provider and (parts.name == "default" or parts.name.startswith("default_"))


def qualify(parent_urn: str, type_token: str) -> str:
    """The qualified type of a child of parent_urn (``""`` or the stack: the bare type)."""
    if not parent_urn:
        return type_token
    chain = parse_urn(parent_urn).qualified_type
    return type_token if chain == STACK_TYPE else f"{chain}{_CHAIN}{type_token}"


def make_urn(stack: str, project: str, parent_urn: str, type_token: str, name: str) -> str:
    """The URN of a resource registered with this parent (``""``: none)."""
    return f"{_PREFIX}{stack}::{project}::{qualify(parent_urn, type_token)}::{name}"


def stack_urn(stack: str, project: str) -> str:
    """The URN of the stack resource, which is named ``<project>-<stack>``."""
    return make_urn(stack, project, "", STACK_TYPE, f"{project}-{stack}")


def split_reference(reference: str) -> tuple[str, str]:
    """``urn::id`` of a provider -> (urn, id). Raises TickoverError ``bad-reference``."""
    urn, separator, id_ = reference.rpartition("::")
    if not separator or not id_ or not is_urn(urn) or not parse_urn(urn).is_provider:
        raise TickoverError(
            "bad-reference",
            "Not a provider reference",
            f"{reference!r} is not the URN of a provider, two colons and its id.",
        )
    return urn, id_
