"""Size report: files over 400 lines and functions over 60, in the product's own Python.

Fails on a file over 450 lines or a function over 80; between the limits it only reports.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tickover", "components", "policies", "bench", "tests")
FILE_LINES, FILE_LIMIT = 400, 450
FUNCTION_LINES, FUNCTION_LIMIT = 60, 80


def sizes(path: Path) -> list[tuple[int, int, str]]:
    """(length, limit, label) of everything in a file that is over its soft bound."""
    text = path.read_text()
    name = path.relative_to(ROOT)
    found = []
    lines = text.count("\n")
    if lines > FILE_LINES:
        found.append((lines, FILE_LIMIT, f"file {name}"))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append((length, FUNCTION_LIMIT, f"function {name}:{node.lineno} {node.name}"))
    return found


def main() -> int:
    files = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))] + [ROOT / "__main__.py"]
    rows = [row for path in files for row in sizes(path)]
    for length, limit, label in rows:
        print(f"{'TOO LONG' if length > limit else 'long'}: {label}: {length} lines")
    total = sum(p.read_text().count("\n") for p in files)
    print(f"sizes: {len(files)} files, {total} lines, {len(rows)} over the soft bound")
    return int(any(length > limit for length, limit, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
