"""One operation on a stack whose provider lives in this process: `inprocess.py OPERATION FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.engine_scripted import Stack  # noqa: E402 - the repository root must be on the path

PROGRAM = Path(__file__).with_name("things") / "__main__.py"


def main(operation: str, folder: Path) -> int:
    stack = Stack(folder)
    (stack.root / "__main__.py").write_text(PROGRAM.read_text())
    outcome = {"up": stack.up, "preview": stack.preview, "destroy": stack.destroy}[operation]()
    if outcome.result != "succeeded":
        print(*stack.events[-5:], outcome, sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
