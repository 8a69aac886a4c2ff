"""The table of states as a Mermaid drawing, for docs/host.md.

Owns: that drawing. Promises: each row of the table is an arrow; the same table gives the same text. Never:
adds what the table does not say. `python -m tickover.host.diagram FILE` puts it between the file's marks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tickover.host.states import TABLE, Effect

BEGIN = "<!-- states: begin -->"
END = "<!-- states: end -->"


def diagram() -> str:
    """The drawing, fenced."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, row in TABLE.items():
        for event, move in row.items():
            does = "" if move.effect is Effect.NONE else f" / {move.effect.value}"
            arrows.setdefault((state.value, move.state.value), []).append(event.value + does)
    lines = [f"    {start} --> {end}: {', '.join(events)}" for (start, end), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> creating", *lines, "```"])


def placed(text: str) -> str:
    """text with the drawing between its marks. Raises ValueError if it has none."""
    head, rest = text.split(BEGIN, 1)
    return f"{head}{BEGIN}\n{diagram()}\n{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(placed(file.read_text(encoding="utf-8")), encoding="utf-8")
