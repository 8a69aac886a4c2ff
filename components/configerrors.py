"""Mistakes of the stack config, as a person reads them.

Owns: the translation of pydantic's errors. Promises: every mistake at once, each with its key path and,
where a name is near, a suggestion. Never: validates.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tickover.errors import ConfigError

Location = tuple[int | str, ...]


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` or ``; there are A, B`` for a word that is none of known."""
    options = sorted(known)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(options)}" if options else ""


def key_path(namespace: str, location: Location) -> str:
    """``("services", "chat", "pool", "schedules", 0)`` -> ``tickover:services.chat.pool.schedules[0]``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{namespace}:{path.removeprefix('.')}"


def as_config_error(
    error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any], namespace: str
) -> ConfigError:
    """One error that lists every mistake of raw, sorted by key path."""
    errors = error.errors(include_url=False)
    return config_error([(key_path(namespace, _written(e["loc"], raw)), _message(e, model)) for e in errors])


def _written(location: Location, raw: Any) -> Location:
    """The part of a location that a person wrote; a short form stands for a map that nobody wrote."""
    for depth, part in enumerate(location):
        if isinstance(raw, str | bool):
            return location[:depth]
        if isinstance(raw, Mapping):
            raw = raw.get(str(part))
        elif isinstance(raw, list) and isinstance(part, int):
            raw = raw[part]
    return location


def config_error(mistakes: Sequence[tuple[str, str]]) -> ConfigError:
    """One error for (key path, message) pairs."""
    ordered = sorted(set(mistakes))
    return ConfigError(
        "bad-config",
        "Stack config is not valid",
        "\n".join(f"{path}: {message}" for path, message in ordered),
        address=ordered[0][0],
    )


def _message(error: ErrorDetails, model: type[BaseModel]) -> str:
    writer = _WRITERS.get(error["type"])
    if writer is not None:
        return writer(error, model)
    text = error["msg"]
    return f"{text[:1].lower()}{text[1:]}, not {_shown(error['input'])}"


def _unknown_key(error: ErrorDetails, model: type[BaseModel]) -> str:
    *parents, key = error["loc"]
    holder = _model_at(model, tuple(parents))
    return f"no such key{suggest(str(key), holder.model_fields if holder else ())}"


def _not_a_choice(error: ErrorDetails, model: type[BaseModel]) -> str:
    expected = error.get("ctx", {}).get("expected", "")
    choices = [c.strip("'") for c in str(expected).replace(" or ", ", ").split(", ")]
    return f"{_shown(error['input'])} is not one of {', '.join(choices)}{_near(error['input'], choices)}"


def _near(word: Any, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _own(error: ErrorDetails, model: type[BaseModel]) -> str:
    return str(error.get("ctx", {}).get("error", error["msg"]))


_WRITERS: Final[Mapping[str, Callable[[ErrorDetails, type[BaseModel]], str]]] = {
    "extra_forbidden": _unknown_key,
    "literal_error": _not_a_choice,
    "value_error": _own,
    "missing": lambda error, model: "required",
    "model_type": lambda error, model: f"must be a map, not {_shown(error['input'])}",
    "dict_type": lambda error, model: f"must be a map, not {_shown(error['input'])}",
}


def _shown(value: Any) -> str:
    match value:
        case str():
            return f'"{value}"'
        case None:
            return "empty"
        case Mapping():
            return "a map"
        case list() | tuple():
            return "a list"
        case _:
            return str(value)


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    current: Any = model
    for part in location:
        current = _bare(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        elif get_origin(current) in (dict, Mapping):
            current = get_args(current)[1]
        elif get_origin(current) in (list, tuple):
            current = get_args(current)[0]
        else:
            return None
    current = _bare(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _bare(annotation: Any) -> Any:
    """The annotation without None and without metadata."""
    if get_origin(annotation) in (Union, types.UnionType):
        return _bare(next(a for a in get_args(annotation) if a is not type(None)))
    metadata = getattr(annotation, "__metadata__", None)
    return _bare(get_args(annotation)[0]) if metadata else annotation
