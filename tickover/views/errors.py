"""Errors as people and programs read them.

Owns: the text around a `TickoverError` and the report of a bug. Promises: the summary first, a hint that
can be pasted last; no secret is added. Never: decides an exit code.
"""

from __future__ import annotations

import textwrap
from typing import Any

from tickover.errors import TickoverError
from tickover.views.terminal import Look


def error_lines(error: TickoverError, look: Look) -> list[str]:
    """``error: summary [address]``, the detail folded, the hint indented on lines of its own."""
    head = f"{error.summary} [{error.address}]" if error.address else error.summary
    lines = [look.paint("error: ", "red") + look.paint(head, "bold")]
    for paragraph in error.detail.splitlines():
        if paragraph.startswith(" ") or len(paragraph) <= look.width:
            lines.append(paragraph)  # quoted output keeps its form
        else:
            lines += textwrap.wrap(paragraph, look.width, break_long_words=False, break_on_hyphens=False)
    lines += [f"    {line}" for line in error.hint.splitlines()]
    return lines


def error_json(error: TickoverError) -> dict[str, Any]:
    """The object that ``--json`` prints in place of an answer, or as the last line of a stream."""
    return {"type": "error", "error": error.as_json()}


def bug_lines(summary: str, report: str, look: Look) -> list[str]:
    """What a person reads when tickover itself is at fault."""
    return [
        look.paint("error: ", "red") + look.paint("Unexpected failure", "bold"),
        f"{summary}",
        "This is a bug in tickover." + (f" A report is in {report}" if report else ""),
    ]
