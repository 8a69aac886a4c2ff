"""Prefix affinity: prompts that begin alike go to the instance whose model server has that beginning cached.

Owns: the digests of a prompt's beginning, which of them each instance was given, and the order of the
instances for a prompt. Promises: pure but for the table, which is bounded for each instance; the work on a
body is bounded whatever is in it; no byte of a prompt is kept. Never: parses JSON, waits, gives an instance
more than it takes.

A model server caches whole blocks of tokens from the first one on. So a prompt is cut into blocks of bytes,
anew at each message, and each block's digest covers all before it: who knows a digest knows the whole
beginning. The bytes are those of the request, not of parsed JSON: a client writes the same messages in the
same way, and parsing a body of 1 MB that is made to be slow would hold up everybody for 28 ms.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from itertools import pairwise
from math import ceil
from typing import Final

from tickover.host.instance import Instance
from tickover.host.model import Prefix
from tickover.host.states import SERVING

BLOCK_BYTES: Final = 512  # about as many tokens as a large block of a KV cache has
LEAST_BYTES: Final = 512  # what is shorter is computed sooner than it is worth looking for
LOOK_BYTES: Final = 64 * 1024  # of a prompt
MOST_BLOCKS: Final = 256  # of a prompt; messages may be short
KEPT_BLOCKS: Final = 8192  # of an instance: 4 MB of text
# A known prefix wins unless its instance has more than 1.25 times its share of the requests. Below a quarter
# of its concurrency it does in any case: so few in one batch cost each other little.
OVERLOAD: Final = 1.25
LIGHT_SHARE: Final = 4

_PROMPTS: Final = ((b"/chat/completions", b'"messages"'), (b"/completions", b'"prompt"'))
_VALUE: Final = re.compile(rb'"\s*:\s*')
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([^"\\]{1,256})"')
# Quotes inside a string are escaped, so these are never found in what somebody has written.
_MESSAGE: Final = re.compile(rb'\{\s*"(?:role|content)"\s*:')
_SYSTEM: Final = re.compile(rb'"role"\s*:\s*"(?:system|developer)"')
_LAST_END: Final = re.compile(rb'\}\s*\]\s*(?:,\s*"\w+"\s*:|\}\s*\Z)')

Rank = tuple[int, int, int]


def has_prompt(path: str) -> bool:
    """Whether requests of this path may carry a prompt."""
    return path.endswith("/completions")


def prefix_of(path: str, body: bytes) -> Prefix | None:
    """The beginning of the prompt in a request; None if it has none, or a short one. Its system prompt is
    enough to be known, or half of it if that is less."""
    key = next((key for end, key in _PROMPTS if path.encode("latin-1").endswith(end)), None)
    found = body.find(key) if key is not None else -1
    value = _VALUE.match(body, found + len(key) - 1) if key is not None and found >= 0 else None
    if value is None:
        return None
    text = body[value.end() : value.end() + LOOK_BYTES]
    model = _MODEL.search(body, 0, LOOK_BYTES) or _MODEL.search(body, max(0, len(body) - LOOK_BYTES))
    seed = (
        model[1] if model is not None else b""
    )  # one server may serve several, each with a cache of its own
    parts = _messages(text) if key == b'"messages"' else [text[: len(text) - len(text) % BLOCK_BYTES]]
    if sum(map(len, parts)) < LEAST_BYTES:
        return None
    blocks, ends = _digests(seed, parts)
    half = ceil(len(blocks) / 2)
    is_led = len(parts[0]) >= LEAST_BYTES and _SYSTEM.search(parts[0]) is not None
    return Prefix(blocks, min(half, ends[0]) if is_led else half)


def _messages(text: bytes) -> list[bytes]:
    """The messages of a chat as they are written, without what is between them."""
    starts = [found.start() for found in _MESSAGE.finditer(text)][: MOST_BLOCKS + 1]
    if not starts:
        return []
    end = _LAST_END.search(text, starts[-1])
    cuts = [*starts, end.start() + 1 if end is not None else len(text)]
    return [text[begin:end].rstrip(b", \t\r\n") for begin, end in pairwise(cuts)]


def _digests(seed: bytes, parts: Iterable[bytes]) -> tuple[tuple[int, ...], list[int]]:
    """Those of all blocks, and how many there are up to the end of each part."""
    sofar = blake2b(seed, digest_size=8)
    blocks: list[int] = []
    ends: list[int] = []
    for part in parts:
        for at in range(0, len(part), BLOCK_BYTES):
            if len(blocks) < MOST_BLOCKS:
                sofar.update(part[at : at + BLOCK_BYTES])
                blocks.append(int.from_bytes(sofar.copy().digest(), "big"))
        ends.append(len(blocks))
    return tuple(blocks), ends


class PrefixTable:
    """What the instances of one host were given, as far as their servers may still have it."""

    def __init__(self, kept_blocks: int = KEPT_BLOCKS) -> None:
        self._kept_blocks = kept_blocks
        self._given: dict[str, OrderedDict[int, None]] = {}

    def known(self, prefix: Prefix, instance_id: str) -> int:
        """How many of a prompt's first blocks an instance was given."""
        given = self._given.get(instance_id)
        if given is None:
            return 0
        return next((at for at, block in enumerate(prefix.blocks) if block not in given), len(prefix.blocks))

    def is_hit(self, prefix: Prefix, instance_id: str) -> bool:
        return self.known(prefix, instance_id) >= prefix.enough

    def worth(self, prefix: Prefix, instance: Instance) -> int:
        """How many blocks of a prompt going to this instance saves; 0 if that is too little to follow."""
        known = self.known(prefix, instance.instance_id)
        return known if known >= prefix.enough else 0

    def learn(self, prefix: Prefix, instance_id: str) -> None:
        """It is given this one now. The first blocks are dropped last: without them the others are no use."""
        given = self._given.setdefault(instance_id, OrderedDict())
        for block in reversed(prefix.blocks):
            given[block] = None
            given.move_to_end(block)
        while len(given) > self._kept_blocks:
            given.popitem(last=False)

    def forget(self, instance_id: str) -> None:
        """Its cache is empty, or it is gone."""
        self._given.pop(instance_id, None)

    def size(self, instance_id: str) -> int:
        return len(self._given.get(instance_id, ()))

    def order(self, prefix: Prefix, instances: Iterable[Instance]) -> Callable[[Instance], Rank]:
        """A sort key, the best first: who knows most of it and is not overloaded; then who has least to do,
        and of those who was given least, so that unlike prompts spread over the caches."""
        there = [i for i in instances if i.state in SERVING and i.is_good]
        fair = OVERLOAD * (sum(i.in_flight for i in there) + 1) / max(1, len(there))

        def rank(instance: Instance) -> Rank:
            most = max(ceil(fair), instance.concurrency // LIGHT_SHARE)
            worth = self.worth(prefix, instance) if instance.in_flight < most else 0
            return (-worth, instance.in_flight, self.size(instance.instance_id))

        return rank
