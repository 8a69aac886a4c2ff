"""Arguments that exclude or need each other.

Owns: the form of those errors. Promises: both names in the message, before any resource is registered.
Never: checks a single value (types and `Check` do).
"""

from __future__ import annotations

from itertools import combinations

from tickover.errors import ConfigError


def at_most_one(address: str, **arguments: object) -> None:
    """Raise if two of the arguments are given (not None, not False, not empty)."""
    given = [name for name, value in arguments.items() if value]
    for first, second in combinations(given, 2):
        raise ConfigError(
            "conflicting-arguments",
            "Arguments exclude each other",
            f"{address}: `{first}` and `{second}` cannot both be given; leave one of them out.",
            address=address,
        )


def needs(address: str, first: tuple[str, object], second: tuple[str, object]) -> None:
    """Raise if the first (name, value) is given and the second is not."""
    if first[1] and not second[1]:
        raise ConfigError(
            "missing-argument",
            "Argument missing",
            f"{address}: `{first[0]}` needs `{second[0]}` as well.",
            address=address,
        )


def required(address: str, **arguments: object) -> None:
    """Raise if one of the arguments is empty."""
    for name, value in arguments.items():
        if not value:
            raise ConfigError(
                "missing-argument", "Argument missing", f"{address}: `{name}` is required.", address=address
            )
