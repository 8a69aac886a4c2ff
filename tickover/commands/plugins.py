"""`tickover plugin install|ls|rm`: the providers' programs in the cache that Pulumi uses too.

Owns: the answers on the terminal. Promises: nothing is removed without a yes; a download shows how far it
is on a terminal and one line elsewhere. Never: touches the cache itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tickover.commands.session import Session, confirmed
from tickover.errors import ConfigError, Exit
from tickover.views.tables import table
from tickover.views.terminal import plural

if TYPE_CHECKING:
    from tickover.engine.plugins.locate import Cached

_KIND = "resource"
_MIB = 1024 * 1024


def install(
    session: Session,
    words: list[str],
    *,
    server: str = "",
    file: Path | None = None,
    checksum: str = "",
    reinstall: bool = False,
) -> int:
    """`plugin install [resource] NAME [VERSION]`. words: what stands on the command line."""
    from tickover.engine.packages import PackageSpec
    from tickover.engine.plugins import install as cache

    name, version = _name_and_version(words)
    if file is not None and not version:
        raise ConfigError(
            "no-plugin-version",
            "Which version?",
            "A tarball does not say its version.",
            hint=f"tickover plugin install {_KIND} {name} VERSION --file {file}",
        )
    done = cache.install(
        PackageSpec(name, version, server),
        session.env,
        tarball=file.resolve() if file is not None else None,
        checksum=checksum,
        reinstall=reinstall,
        progress=_progress(session, name),
    )
    what = f"{done.name} {done.version}"
    session.say(f"{what} is installed in {done.path}." if done.is_new else f"{what} was installed already.")
    return int(Exit.OK)


def ls(session: Session, *, as_json: bool = False) -> int:
    """`plugin ls`."""
    from tickover.engine.plugins import install as cache

    plugins = cache.installed(session.env)
    if as_json:
        session.say_json([_as_json(p) for p in plugins])
        return int(Exit.OK)
    if not plugins:
        session.say("No plugin is installed.")
        return int(Exit.OK)
    rows = [(p.name, _KIND, str(p.version), f"{_size(p) / _MIB:.1f} MiB") for p in plugins]
    session.say(*table(("NAME", "KIND", "VERSION", "SIZE"), rows, session.look, right="lllr"))
    return int(Exit.OK)


def rm(session: Session, words: list[str], *, every: bool = False, yes: bool = False) -> int:
    """`plugin rm [resource] NAME [VERSION]`, or every plugin."""
    from tickover.engine.plugins import install as cache
    from tickover.engine.plugins.locate import parse_version

    plugins = cache.installed(session.env)
    if not every:
        name, version = _name_and_version(words)
        wanted = parse_version(version) if version else None
        plugins = [p for p in plugins if p.name == name and (not version or p.version == wanted)]
        if not plugins:
            raise ConfigError(
                "no-such-plugin",
                "No such plugin",
                f"The cache has no {' '.join(filter(None, (name, version)))}.",
                hint="tickover plugin ls",
            )
    if not plugins:
        session.say("No plugin is installed.")
        return int(Exit.OK)
    session.note(*(f"  {p.name} {p.version}" for p in plugins))
    confirmed(
        f"Remove {plural(len(plugins), 'plugin')}? Stacks that need one cannot be changed without it", yes=yes
    )
    for plugin in plugins:
        cache.remove(plugin)
    session.say(f"{plural(len(plugins), 'plugin')} removed.")
    return int(Exit.OK)


def _name_and_version(words: list[str]) -> tuple[str, str]:
    """The name and the version after an optional kind; NAME@VERSION is understood too."""
    rest = words[1:] if len(words) > 1 and words[0] == _KIND else list(words)
    if len(rest) == 1 and "@" in rest[0]:
        rest = rest[0].split("@", 1)
    if not 1 <= len(rest) <= 2:
        raise ConfigError(
            "bad-plugin-words",
            "Which plugin?",
            f"A plugin is named by its name and version; {' '.join(words) or 'nothing'} was given.",
            hint=f"tickover plugin install {_KIND} NAME VERSION",
        )
    return rest[0], rest[1].removeprefix("v") if len(rest) == 2 else ""


def _progress(session: Session, name: str) -> Callable[[int, int], None]:
    """How far a download is: one line that is written over on a terminal, a single one elsewhere."""
    is_terminal = sys.stderr.isatty()
    told = False

    def tell(done: int, total: int) -> None:
        nonlocal told
        if is_terminal:
            of_all = f" of {total / _MIB:.1f}" if total else ""
            end = "\n" if total and done >= total else ""
            sys.stderr.write(f"\rDownloading {name}: {done / _MIB:.1f}{of_all} MiB{end}")
            sys.stderr.flush()
        elif not told:
            told = True
            session.note(f"Downloading {name}" + (f" ({total / _MIB:.1f} MiB)" if total else ""))

    return tell


def _as_json(plugin: Cached) -> dict[str, object]:
    return {
        "name": plugin.name,
        "kind": _KIND,
        "version": str(plugin.version),
        "path": str(plugin.path),
        "size": _size(plugin),
    }


def _size(plugin: Cached) -> int:
    return sum(f.lstat().st_size for f in plugin.path.rglob("*") if not f.is_dir())
