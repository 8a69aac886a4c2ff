"""Which resources an operation is about: ``--target``, ``--exclude``, ``--replace``.

Owns: the choice and its globs (``*`` stops at a colon, ``**`` does not). Promises: pure but for the set of
what was chosen so far, which grows in program order. Never: decides what happens to a resource.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tickover.engine.integrity import references
from tickover.engine.state import ResourceState
from tickover.engine.urn import STACK_TYPE, is_provider_type, parse_urn
from tickover.errors import Exit, TickoverError


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = ("[^:]*".join(map(re.escape, part.split("*"))) for part in glob.split("**"))
    return re.compile("^" + ".*".join(parts) + "$", re.DOTALL)


def matches(urn: str, wanted: Collection[str]) -> bool:
    """True if urn is among wanted, literally or by a glob."""
    return urn in wanted or any("*" in glob and _pattern(glob).match(urn) for glob in wanted)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for. replaces: URNs to replace whatever their diff says."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    target_dependents: bool = False
    exclude_dependents: bool = False

    @property
    def is_limited(self) -> bool:
        return bool(self.targets or self.excludes)

    def unknown(self, known: Collection[str]) -> tuple[str, ...]:
        """Literal targets that name nothing known."""
        return tuple(t for t in (*self.targets, *self.replaces) if "*" not in t and t not in known)


@dataclass(slots=True)
class Targeting:
    """The choice of one run. chosen: URNs found to be targeted; left: to be excluded."""

    choice: Choice
    chosen: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)

    def includes(self, urn: str, needs: Iterable[str]) -> bool:
        """True if the operation is about urn; remembers the answer for what depends on it."""
        if not self.choice.is_limited:
            return True
        type_ = parse_urn(urn).type
        if is_provider_type(type_) or type_ == STACK_TYPE:
            return True
        if self.choice.targets:
            if matches(urn, self.choice.targets) or (
                self.choice.target_dependents and not self.chosen.isdisjoint(needs)
            ):
                self.chosen.add(urn)
                return True
            return False
        if matches(urn, self.choice.excludes) or (
            self.choice.exclude_dependents and not self.left.isdisjoint(needs)
        ):
            self.left.add(urn)
            return False
        return True

    def replaces(self, urn: str, old: ResourceState | None) -> bool:
        """True if urn is to be replaced whatever its diff says."""
        if self.choice.replaces and matches(urn, self.choice.replaces):
            return True
        return old is not None and bool(old.extra.get("taint"))


def deletable(choice: Choice, resources: Sequence[ResourceState]) -> tuple[frozenset[str], tuple[str, ...]]:
    """URNs that a deletion may be about, and those among them that were not named: they need a named one,
    so they can only go with it."""
    everything = frozenset(r.urn for r in resources)
    if choice.targets:
        named = {urn for urn in everything if matches(urn, choice.targets)}
        found = with_dependents(named, resources)
        extra = () if choice.target_dependents else tuple(sorted(found - named))
        return frozenset(found), extra
    if choice.excludes:
        kept = {urn for urn in everything if matches(urn, choice.excludes)}
        if choice.exclude_dependents:
            kept = with_dependents(kept, resources)
        return everything - with_needed(kept, resources), ()
    return everything, ()


def with_dependents(urns: Collection[str], resources: Sequence[ResourceState]) -> set[str]:
    """urns and all that needs one of them; resources in the order of a state."""
    found = set(urns)
    for resource in resources:
        if found.intersection(references(resource)) or resource.provider.rpartition("::")[0] in found:
            found.add(resource.urn)
    return found


def with_needed(urns: Collection[str], resources: Sequence[ResourceState]) -> set[str]:
    """urns and all that they need."""
    found = set(urns)
    for resource in reversed(resources):
        if resource.urn in found:
            found.update(references(resource))
            found.add(resource.provider.rpartition("::")[0])
    return found - {""}


def not_found(urns: Sequence[str], stack: str) -> TickoverError:
    """Targets that name nothing."""
    names = "".join(f"\n  {urn}" for urn in urns)
    hint = f"tickover stack export -s {stack} | grep urn"
    if any("$" not in urn for urn in urns):
        hint = f"{hint}   (is a $ of the URN lost to the shell? quote it)"
    return TickoverError(
        "target-not-found",
        "Target is not in the stack",
        f"Neither the state nor the program has{names}",
        hint=hint,
        exit_code=Exit.CONFIGURATION,
    )


def not_targeted(urn: str, needed: str) -> TickoverError:
    """A targeted resource needs one that is new and not targeted."""
    return TickoverError(
        "needs-untargeted",
        "Needs a resource that is not targeted",
        f"It depends on {needed}, which is new and which --target does not name. Name that too.",
        address=urn,
        exit_code=Exit.CONFIGURATION,
    )


def goes_along(urn: str) -> TickoverError:
    """A deletion would take along something that was not named."""
    return TickoverError(
        "not-targeted",
        "Would be deleted without being named",
        "It depends on a resource that --target names, and cannot stay without it. Name it too, or add "
        "--target-dependents.",
        address=urn,
        exit_code=Exit.CONFIGURATION,
    )
