"""A real browser at a page, for as long as a test needs it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

_COMMAND = shutil.which("chromium-headless-shell") or shutil.which("chromium")
needs_browser = pytest.mark.skipif(
    _COMMAND is None, reason="no Chromium here (Debian: chromium-headless-shell)"
)


@asynccontextmanager
async def browser(url: str, folder: Path, *words: str) -> AsyncIterator[None]:
    """Chromium without a window, with a profile of its own."""
    process = await asyncio.create_subprocess_exec(
        *(str(_COMMAND), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--no-proxy-server", f"--user-data-dir={folder}/profile"),
        *("--remote-debugging-port=0", *words, url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # Debian's command is a shell that waits for the browser
        await process.wait()
