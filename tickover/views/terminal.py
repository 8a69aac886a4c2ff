"""What a terminal can show: width, colour, characters.

Owns: the decision how text may look, and the paint. Promises: no escape code without colour; plain ASCII
where the encoding cannot do better; at least 80 columns. Never: writes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TextIO

LEAST_WIDTH = 80
_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


class Color(Enum):
    """The ``--color`` flag, with Pulumi's words."""

    ALWAYS = "always"
    NEVER = "never"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Look:
    """How text may look. is_live: a person watches and lines may be redrawn."""

    width: int = LEAST_WIDTH
    color: bool = False
    unicode: bool = True
    is_live: bool = False

    def paint(self, text: str, style: str) -> str:
        """text in a style of the table below; unchanged without colour."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and style and text else text

    @property
    def ellipsis(self) -> str:
        return "…" if self.unicode else "..."

    def glyphs(self) -> Glyphs:
        return _FANCY if self.unicode else _ASCII


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The lines of a tree."""

    branch: str
    last: str
    through: str
    blank: str


_FANCY = Glyphs("├─ ", "└─ ", "│  ", "   ")
_ASCII = Glyphs("|- ", "`- ", "|  ", "   ")
_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


def detect(stream: TextIO, env: Mapping[str, str], color: Color = Color.AUTO) -> Look:
    """The look of a stream in an environment."""
    is_terminal = stream.isatty() and env.get("TERM") != "dumb"
    automatic = is_terminal and not env.get("NO_COLOR")
    has_color = automatic if color is Color.AUTO else color is Color.ALWAYS
    width = LEAST_WIDTH
    if is_terminal or env.get("COLUMNS", "").isdigit():
        width = max(LEAST_WIDTH, shutil.get_terminal_size((LEAST_WIDTH, 24)).columns)
    is_watched = is_terminal and not env.get("CI")
    return Look(width, has_color, _can_draw(stream), is_watched)


def _can_draw(stream: TextIO) -> bool:
    try:
        "├└│…→".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def for_stream(stream: TextIO, color: Color = Color.AUTO) -> Look:
    """`detect` in this process's environment."""
    return detect(stream, os.environ, color)


def clean(text: str) -> str:
    """Foreign text without escape sequences and control characters, so that it cannot steer a terminal."""
    text = _ESCAPES.sub("", text)
    return "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160))


def writable(text: str, stream: TextIO) -> str:
    """text, with escape sequences of Python's for what the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def write_lines(stream: TextIO, lines: Iterable[str]) -> None:
    """Lines to a stream, at once."""
    stream.write(writable("".join(f"{line}\n" for line in lines), stream))
    stream.flush()


def seconds_text(seconds: float) -> str:
    """``0.4s``, ``12s``, ``2m10s``, ``1h02m``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def plural(count: int, noun: str) -> str:
    """``1 change``, ``2 changes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
