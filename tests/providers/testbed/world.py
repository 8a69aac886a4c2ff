"""The testbed's cloud: one JSON file, shared by every process of the provider and by the cases' scripts.

Owns: the file's form and its lock. Promises: each change is whole, and noted in the log in its order. Never:
knows what a type does.

As a script, for a case's own steps (the file is TESTBED_WORLD):
    world.py log                     print what was made, changed and deleted since the last time, in order
    world.py log sorted              the same, sorted: for what has no order
    world.py things                  print the ids that exist
    world.py drop ID                 it is gone, though nobody asked
    world.py set ID KEY JSON         its input is another, though nobody asked
    world.py add ID TYPE JSON        it is there, though nobody asked
    world.py mend                    what fails or is half done no longer does
"""

import fcntl
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

EMPTY = {"counters": {}, "things": {}, "log": [], "mended": False}


class World:
    """The file."""

    def __init__(self, file):
        self._file = file

    @contextmanager
    def open(self):
        """What it holds, for reading and changing."""
        with self._file.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            held = json.loads(file.read() or json.dumps(EMPTY))
            yield held
            file.seek(0)
            file.truncate()
            file.write(json.dumps(held, indent=1))

    @property
    def mended(self):
        with self.open() as held:
            return held["mended"]

    def note(self, line):
        with self.open() as held:
            held["log"].append(line)

    def create(self, kind, name, inputs):
        """Makes one and gives its id: the name and how many of that name there were."""
        with self.open() as held:
            held["counters"][name] = number = held["counters"].get(name, 0) + 1
            made = f"{name}-{number}"
            held["things"][made] = {"type": kind, "inputs": inputs}
            held["log"].append(f"create:{made}")
            return made

    def update(self, made, inputs):
        """Whether it was there to be changed."""
        with self.open() as held:
            if made not in held["things"]:
                return False
            held["things"][made]["inputs"] = inputs
            held["log"].append(f"update:{made}")
            return True

    def read(self, made):
        with self.open() as held:
            held["log"].append(f"read:{made}")
            return held["things"].get(made)

    def count(self, made):
        """How often it was counted, this time included."""
        with self.open() as held:
            held["counters"][f"reads of {made}"] = number = held["counters"].get(f"reads of {made}", 0) + 1
            return number

    def delete(self, made):
        with self.open() as held:
            held["log"].append(f"delete:{made}")
            held["things"].pop(made, None)


def main(verb, *rest):
    """See the module's text."""
    with World(Path(os.environ["TESTBED_WORLD"])).open() as held:
        match verb, *rest:
            case ["log", *order]:
                print(*(sorted(held["log"]) if order else held["log"]), ".")
                held["log"] = []
            case ["things"]:
                print(*sorted(held["things"]), ".")
            case ["drop", made]:
                del held["things"][made]
            case ["set", made, key, value]:
                held["things"][made]["inputs"][key] = json.loads(value)
            case ["add", made, kind, inputs]:
                held["things"][made] = {"type": kind, "inputs": json.loads(inputs)}
            case ["mend"]:
                held["mended"] = True
            case _:
                raise SystemExit(f"{verb} {rest} is nothing that can be done to a world")


if __name__ == "__main__":
    main(*sys.argv[1:])
