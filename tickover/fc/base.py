"""The base of all FC models: Python names inside, FC's wire names outside.

Owns: `FcModel` and how it is written to the wire. Promises: frozen models, FC's exact property names as
aliases, unknown properties refused, secret fields left out of repr. Never: words a violation (`validate`
and `limits` do).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

Wire = Mapping[str, Any]
# A rule across properties: reads a wire object whose single values are already valid (invalid ones are
# left out) and yields (path relative to the object, predicate such as "must be …").
Rule = Callable[[Wire], Iterator[tuple[str, str]]]


class FcModel(BaseModel):
    """A frozen FC object. None means "not given"; FC then applies its own default.

    Fields with ``repr=False`` hold secrets.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    # Wire names that the API carries in the path, and those that it takes at creation only.
    in_path: ClassVar[frozenset[str]] = frozenset()
    create_only: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[Mapping[str, Any]] = {}

    def to_wire(self) -> dict[str, Any]:
        """The object with FC's property names, what is not given left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_body(self, *, update: bool = False) -> dict[str, Any]:
        """The request body: `to_wire` without what travels in the path or cannot be updated."""
        left_out = self.in_path | self.create_only if update else self.in_path
        return {name: value for name, value in self.to_wire().items() if name not in left_out}


def wire_name(model_cls: type[FcModel], field_name: str) -> str:
    """FC's name of a field."""
    return model_cls.model_fields[field_name].alias or field_name


def wire_names(model_cls: type[FcModel]) -> dict[str, str]:
    """Python field name → FC's name, in declaration order."""
    return {name: wire_name(model_cls, name) for name in model_cls.model_fields}
