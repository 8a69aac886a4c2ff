"""Plain tables: heads, rows, right-aligned numbers.

Owns: column widths. Promises: no trailing blanks, no cut cell, the same text for the same rows. Never:
sorts.
"""

from __future__ import annotations

from collections.abc import Sequence

from tickover.views.terminal import Look


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], look: Look, right: str = "") -> list[str]:
    """The rows below their heads. right: a letter a column, ``r`` aligns it to the right."""
    kinds = right.ljust(len(heads), "l")
    widths = [max(len(line[i]) for line in (heads, *rows)) for i in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        parts = (c.rjust(w) if k == "r" else c.ljust(w) for c, w, k in zip(cells, widths, kinds, strict=True))
        return "  ".join(parts).rstrip()

    return [look.paint(line(heads), "bold"), *(line(row) for row in rows)]
