"""``python -m tickover`` is the command ``tickover``."""

from __future__ import annotations

import sys

from tickover.cli import main

if __name__ == "__main__":
    sys.exit(main())
