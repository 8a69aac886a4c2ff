"""The one error of timetables.

Owns: `ScheduleError`. Promises: says which part is wrong and what is allowed. Never: knows where the text
came from.
"""

from __future__ import annotations


class ScheduleError(ValueError):
    """A timetable that cannot be read.

    field: which part, such as ``minutes``, ``timeZone``; empty for the expression as a whole.
    position: index of the first wrong character in the given text.
    """

    def __init__(self, message: str, *, field: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.position = position
