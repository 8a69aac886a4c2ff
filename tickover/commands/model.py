"""`tickover model pull|ls`: models on the NAS.

Owns: the answers on the terminal. Promises: progress on standard error. Never: fetches anything itself.
"""

from __future__ import annotations

from pathlib import Path

from tickover import models
from tickover.commands.session import Session
from tickover.errors import Exit
from tickover.paths import nas_dir
from tickover.views.tables import table


def pull(session: Session, name: str, nas: Path | None, *, as_json: bool) -> int:
    """`model pull`."""
    root = nas.resolve() if nas is not None else nas_dir(session.home)
    path, is_new = models.pull(name, root, lambda line: session.note(line))
    if as_json:
        session.say_json({"name": name, "path": str(path), "fetched": is_new})
    return int(Exit.OK)


def ls(session: Session, nas: Path | None, *, as_json: bool) -> int:
    """`model ls`: what is on the NAS, and what could be."""
    root = nas.resolve() if nas is not None else nas_dir(session.home)
    stored = models.stored(root)
    folders = {m.name for m in stored}
    missing = [m for m in models.CATALOGUE.values() if m.folder not in folders]
    if as_json:
        session.say_json(
            {
                "nas": str(root),
                "stored": [{"name": m.name, "path": m.path, "bytes": m.size} for m in stored],
                "available": [{"name": m.name, "bytes": m.size, "licence": m.licence} for m in missing],
            }
        )
        return int(Exit.OK)
    rows = [(m.name, f"{m.size / 1e6:.0f} MB", f"local:/{m.path}") for m in stored]
    rows += [(m.name, f"{m.size / 1e6:.0f} MB", f"tickover model pull {m.name}") for m in missing]
    session.say(*table(("MODEL", "SIZE", "WHERE"), rows, session.look, "lrl"))
    return int(Exit.OK)
