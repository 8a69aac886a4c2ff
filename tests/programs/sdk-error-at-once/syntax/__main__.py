"""Runs a text that does not parse."""

import pathlib

exec(compile(pathlib.Path("broken.txt").read_text(), "broken.txt", "exec"))
