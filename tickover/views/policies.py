"""What the policies say about a plan.

Owns: the policies block. Promises: a line a pack, then each violation once with policy, level and URN, the
worst first; what a remediation did is told as such. Never: decides what a level means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tickover.engine.plan import PolicyViolation
from tickover.engine.urn import parse_urn
from tickover.errors import TickoverError
from tickover.views.terminal import Look, clean

LEVELS = ("mandatory", "remediate", "advisory", "disabled")
_STYLE = {"mandatory": "red", "remediate": "cyan", "advisory": "yellow", "disabled": "dim"}
_TALLY = {"mandatory": "mandatory", "remediate": "remediated", "advisory": "advisory", "disabled": "disabled"}


def render(violations: Iterable[PolicyViolation], look: Look) -> list[str]:
    """The block as lines; none without violations."""
    packs: dict[tuple[str, str], list[PolicyViolation]] = {}
    for violation in dict.fromkeys(violations):
        packs.setdefault((violation.pack, violation.pack_version), []).append(violation)
    lines: list[str] = []
    for (pack, version), found in sorted(packs.items()):
        counts = Counter(v.level for v in found)
        tally = ", ".join(f"{counts[level]} {_TALLY[level]}" for level in LEVELS if counts[level])
        name = f"{pack} {version}".rstrip()
        style = "red" if counts["mandatory"] else "bold"
        lines.append(look.paint(f"Policies {name}: {tally}", style))
        for violation in sorted(found, key=_rank):
            lines += ["    " + line for line in one(violation, look, with_pack=False)]
    return lines


def one(violation: PolicyViolation, look: Look, *, with_pack: bool = True) -> list[str]:
    """One violation."""
    level = look.paint(f"[{violation.level}]", _STYLE.get(violation.level, ""))
    policy = f"{violation.pack}/{violation.policy}" if with_pack else violation.policy
    where = f" ({_called(violation.urn)})" if violation.urn else ""
    lines = [f"{level} {policy}{where}"]
    if violation.level == "remediate":
        lines.append("    The policy changed the resource's properties:")
    lines += [f"    {line}" for line in clean(violation.message).splitlines()]
    if violation.urn:
        lines.append(look.paint(f"    {clean(violation.urn)}", "dim"))
    return lines


def refusing(violations: Iterable[PolicyViolation]) -> dict[str, tuple[str, ...]]:
    """URN → the mandatory policies that refuse what is planned for it."""
    found: dict[str, dict[str, None]] = {}
    for violation in violations:
        if violation.level == "mandatory" and violation.urn:
            found.setdefault(violation.urn, {})[f"{violation.pack}/{violation.policy}"] = None
    return {urn: tuple(sorted(policies)) for urn, policies in found.items()}


def _rank(violation: PolicyViolation) -> tuple[int, str, str, str]:
    level = LEVELS.index(violation.level) if violation.level in LEVELS else len(LEVELS)
    return level, violation.policy, violation.urn, violation.message


def _called(urn: str) -> str:
    try:
        parsed = parse_urn(urn)
    except TickoverError:
        return clean(urn)
    return clean(f"{parsed.type}: {parsed.name}")
