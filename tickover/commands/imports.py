"""`tickover import`: existing objects into the stack, and the code that declares them.

Owns: the reading of words and files, and the code shown. Promises: nothing but the state changes. Never:
reads an object itself.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickover.commands.deploy import Confirm, operated, require_consent
from tickover.commands.options import Options
from tickover.commands.session import Session
from tickover.errors import ConfigError, Exit

if TYPE_CHECKING:
    from tickover.engine.importer import Imports
    from tickover.engine.operations import Outcome, Request
    from tickover.engine.state import ResourceState


def wanted(words: Sequence[str], file: Path | None, parent: str, provider: str, protect: bool) -> Imports:
    """What is to be imported. Raises ConfigError."""
    from tickover.engine.importer import Import, Imports, imports_of

    if file is not None:
        if words:
            raise ConfigError("bad-words", "Either a file or words", "--file says what is to be imported.")
        return imports_of(_document(file), protect)
    if len(words) != 3:
        raise ConfigError(
            "bad-words", "Three words are needed", "Type, name and id, or --file.",
            hint="tickover import TYPE NAME ID",
        )  # fmt: skip
    type_, name, id_ = words
    return Imports(
        (Import(type_, name, id_, parent.rpartition("=")[2], provider.rpartition("=")[2], protect=protect),)
    )


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "bad-import-file", "Import file cannot be read", f"{file}: {error}.", str(file)
        ) from error
    if not isinstance(document, dict):
        raise ConfigError("bad-import-file", "Import file is not valid", "It must be an object.", str(file))
    return document


def run(session: Session, options: Options, imports: Imports, shows_code: bool, out: Path | None) -> int:
    """Import, and show the code."""
    require_consent(options)
    taken: list[ResourceState] = []

    async def work(request: Request, confirm: Confirm) -> Outcome:
        from tickover.engine import operations

        outcome, states = await operations.import_(request, imports, confirm)
        taken.extend(states)
        return outcome

    code = operated(session, options, "import", work)
    if code == int(Exit.OK) and taken and shows_code:
        text = code_for(taken)
        if out is not None:
            out.write_text(text, "utf-8")
        elif not options.as_json:
            session.say("", "Declare it in the program, or the next up deletes it:", "", text)
    return code


def code_for(states: Sequence[ResourceState]) -> str:
    """Python that declares the resources. Names of classes and arguments follow the SDKs' conventions."""
    lines = ["import pulumi"]
    modules = sorted({_module(s.type) for s in states if s.custom})
    lines += [f"import {m}" for m in modules]
    for state in states:
        if not state.custom:
            continue
        name = state.urn.rpartition("::")[2]
        lines += ["", f"{_identifier(name)} = {_class(state.type)}(", f"    {name!r},"]
        lines += [f"    {_snake(key)}={_literal(value)}," for key, value in sorted(state.inputs.items())]
        if state.protect:
            lines.append("    opts=pulumi.ResourceOptions(protect=True),")
        lines.append(")")
    return "\n".join(lines) + "\n"


def _module(type_: str) -> str:
    return f"pulumi_{type_.partition(':')[0].replace('-', '_')}"


def _class(type_: str) -> str:
    package, module, name = type_.split(":", 2)
    inner = module.partition("/")[0].replace("-", "_")
    return ".".join(p for p in (_module(package), "" if inner == "index" else inner, name) if p)


def _identifier(name: str) -> str:
    text = re.sub(r"\W", "_", name)
    return f"_{text}" if not text or text[0].isdigit() or keyword.iskeyword(text) else text


def _snake(key: str) -> str:
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
    return f"{text}_" if keyword.iskeyword(text) else text


def _literal(value: Any) -> str:
    from tickover.engine.values import Secret

    match value:
        case Secret():
            return 'pulumi.Config().require_secret("…")'
        case dict():
            return "{" + ", ".join(f"{k!r}: {_literal(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
        case _:
            return repr(value)
