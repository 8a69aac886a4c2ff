"""What goes wrong with a plugin, as the engine's errors.

Owns: the reading of a failed gRPC call. Promises: the provider's own sentence comes first, a traceback
only where there is nothing else, and no secret of the call in either. Never: makes a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from pulumi.runtime.proto import errors_pb2, provider_pb2, status_pb2

from tickover.engine.values import PropertyValue, Secret
from tickover.errors import TickoverError

M = TypeVar("M")

# The call may have had its effect: nobody who could tell is left.
UNDECIDED: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
)
CHANGING: Final = frozenset({"Create", "Update", "Delete"})
PARTIAL: Final = frozenset({"Create", "Update", "Read"})  # what may answer ErrorResourceInitFailed

_DETAILS_KEY: Final = "grpc-status-details-bin"
_TRACEBACK: Final = "Traceback (most recent call last):"
_FRAME: Final = re.compile(r'\s+File ".*", line \d+')
# What gRPC's Python servers put before an exception that nobody caught.
_NOISE: Final = re.compile(r"^(?:Exception calling application: |Unexpected <class '[\w.]+'>: )")
_NO_SUCH_METHOD: Final = "Unexpected <class 'NotImplementedError'>: "
_SHORTEST_SECRET: Final = 3  # shorter ones occur in any text


class OutcomeUnknown(TickoverError):
    """Create, Update or Delete was sent and nobody can say whether it had its effect."""


class Partial(Exception):
    """An object that is there and not as asked; detail: what the provider says of it, still encoded."""

    def __init__(self, detail: provider_pb2.ErrorResourceInitFailed) -> None:
        super().__init__("; ".join(detail.reasons))
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Call:
    """A call that failed. verb: the method's name; address: a URN, a token or the plugin's name; secrets:
    texts that must not be repeated."""

    plugin: str
    verb: str
    address: str
    secrets: tuple[str, ...] = ()


def failure(call: Call, error: grpc.RpcError, died: str | None = None) -> TickoverError:
    """The failed call as an error. died: what the provider said last, where its process has ended."""
    is_undecided = call.verb in CHANGING and error.code() in UNDECIDED
    kind = OutcomeUnknown if is_undecided else TickoverError
    if died is not None:
        return kind(
            "provider-died",
            "Provider died",
            hide(f"The provider {call.plugin} ended during {call.verb}. {died}", call.secrets)
            + (_UNDECIDED_NOTE if is_undecided else ""),
            address=call.address,
        )
    message = hide(_message(error), call.secrets)
    note = _UNDECIDED_NOTE if is_undecided else ""
    return kind(
        "outcome-unknown" if is_undecided else "provider-failed",
        f"{call.verb} failed",
        f"{message}{note}",
        address=call.address,
    )


_UNDECIDED_NOTE: Final = (
    "\nWhether it had its effect is not known, so the operation stays recorded as pending."
)


def missing_keys(plugin: str, address: str, error: grpc.RpcError) -> TickoverError | None:
    """Configure's complaint about configuration that must be given, as one error."""
    keys = [
        key for found in _details(error, provider_pb2.ConfigureErrorMissingKeys) for key in found.missingKeys
    ]
    if not keys:
        return None
    lines = "".join(f"\n  {key.name}: {key.description or 'required'}" for key in keys)
    return TickoverError(
        "provider-config-missing",
        "Provider configuration is missing",
        f"The provider {plugin} cannot work without:{lines}",
        address=address,
        hint="\n".join(f"tickover config set {key.name} VALUE" for key in keys),
    )


def init_failure(error: grpc.RpcError) -> provider_pb2.ErrorResourceInitFailed | None:
    """What a provider says of an object that is there and not as asked, or None."""
    return next(iter(_details(error, provider_pb2.ErrorResourceInitFailed)), None)


def is_unimplemented(error: grpc.RpcError) -> bool:
    """True if the provider does not know the method; Pulumi's typed server says so by an exception."""
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return True
    return error.code() is grpc.StatusCode.UNKNOWN and (error.details() or "").startswith(_NO_SUCH_METHOD)


def plain_message(text: str) -> str:
    """What was raised, without the frames it passed through."""
    text = _NOISE.sub("", text).strip()
    lines = text.splitlines()
    frames = [number for number, line in enumerate(lines) if _FRAME.match(line)]
    if not frames:
        return text
    head = "\n".join(lines[: frames[0]])
    if _TRACEBACK not in head:  # the sentence first, then where it came from
        return head.strip().removesuffix(":") or text
    tail = lines[frames[-1] + 1 :]
    while tail and (tail[0].startswith("    ") or not tail[0].strip()):  # the frame's own source
        tail.pop(0)
    message = re.sub(r"^(?:builtins\.)?Exception: ", "", "\n".join(tail).strip())
    lead = head.replace(_TRACEBACK, "").strip()
    return "\n".join(filter(None, (lead, message))) or text


def secret_texts(values: Iterable[PropertyValue]) -> tuple[str, ...]:
    """The texts inside the secrets of values."""
    return tuple(sorted({t for value in values for t in _texts(value, inside=False)}, key=len, reverse=True))


def hide(text: str, secrets: Sequence[str]) -> str:
    """text without the secrets."""
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _texts(value: PropertyValue, inside: bool) -> Iterator[str]:
    match value:
        case Secret():
            yield from _texts(value.value, True)
        case str() if inside and len(value) >= _SHORTEST_SECRET:
            yield value
        case list():
            for item in value:
                yield from _texts(item, inside)
        case dict():
            for item in value.values():
                yield from _texts(item, inside)


def _message(error: grpc.RpcError) -> str:
    text = plain_message(error.details() or "") or f"The provider answered {error.code().name}."
    bad = [
        f"\n  {e.property_path}: {e.reason}"
        for found in _details(error, errors_pb2.InputPropertiesError)
        for e in found.errors
    ]
    return text + "".join(bad)


def _details(error: grpc.RpcError, kind: type[M]) -> list[M]:
    """The details of a kind that came with the error."""
    metadata: Any = error.trailing_metadata() or ()
    found: list[M] = []
    for key, value in metadata:
        if key != _DETAILS_KEY:
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:  # then there are none that could be read; the message remains
            continue
        for packed in status.details:
            detail: Any = kind()
            if packed.Is(detail.DESCRIPTOR) and packed.Unpack(detail):
                found.append(detail)
    return found
