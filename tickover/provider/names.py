"""The two forms of a property name: snake_case in Python, FC's camelCase on the wire.

Owns: the conversion and its exceptions (FC writes some acronyms in capitals). Promises: pure. Never:
touches values.
"""

from __future__ import annotations

# FC's spellings that plain camelCase would miss.
_CAPITALS = {
    "always_allocate_cpu": "alwaysAllocateCPU",
    "always_allocate_gpu": "alwaysAllocateGPU",
    "custom_dns": "customDNS",
}


def camel(name: str) -> str:
    """``memory_size`` → ``memorySize``; a name that has no underscore, and a path, keep their form."""
    head, dot, rest = name.partition(".")
    if "_" not in head:
        return name
    if head in _CAPITALS:
        return _CAPITALS[head] + dot + rest
    first, *others = head.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others) + dot + rest
