"""What every test here needs: vLLM's CPU build and a small model for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def vllm() -> Path:
    """The folder that tests/support/vllm/build.sh makes."""
    folder = os.environ.get("TICKOVER_VLLM", "")
    if not folder:
        pytest.skip("TICKOVER_VLLM names no folder with vLLM; `make test-vllm` makes one")
    return Path(folder)
