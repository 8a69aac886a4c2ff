"""Plugins into the cache that is shared with the Pulumi CLI, and out of it.

Owns: the download, the check of its sum, the unpacking, the cache's lock and marker files. Promises: a
plugin is seen by anybody only once it is whole; nothing is written outside its folder; two installers of
one plugin take turns, the Pulumi CLI among them. Never: starts a plugin.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from tickover.engine.packages import PackageSpec
from tickover.engine.plugins.locate import (
    KIND,
    PLUGIN_FILE,
    Cached,
    RealDisk,
    binary_name,
    cached_plugins,
    parse_version,
    plugins_home,
)
from tickover.engine.plugins.origins import (
    Form,
    Origin,
    Platform,
    asset_name,
    newest_release,
    origins,
    this_platform,
)
from tickover.errors import ConfigError, TickoverError

Progress = Callable[[int, int], None]
"""Told the bytes that are there and the bytes in all; the latter is 0 where nobody says."""

_NAME: Final = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")
_CHUNK_BYTES: Final = 256 * 1024
_TIMEOUT: Final = (10.0, 60.0)  # to connect, between bytes
_RETRY: Final = Retry(total=3, connect=1, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Installed:
    """A plugin in the cache. is_new: this call put it there."""

    name: str
    version: str
    path: Path
    is_new: bool = True


def install(
    spec: PackageSpec,
    environ: Mapping[str, str],
    *,
    tarball: Path | None = None,
    checksum: str = "",
    reinstall: bool = False,
    progress: Progress = lambda done, total: None,
) -> Installed:
    """Put the plugin of spec in the cache. tarball: a file to take instead of downloading; checksum: sha256
    in hex that the tarball must have (spec's own counts too). Without a version: the newest."""
    on = this_platform()
    _require_name(spec.name)
    session = _session()
    with session:
        if not spec.version and tarball is None:
            spec = replace(spec, version=_newest(session, spec, environ))
        version = parse_version(spec.version)
        if version is None:
            raise ConfigError(
                "bad-plugin-version",
                "Not a version",
                f"{spec.version!r} is no version of a plugin; it must be like 4.16.7.",
                address=spec.name,
            )
        spec = replace(spec, version=str(version))
        target = plugins_home(environ) / f"{KIND}-{spec.name}-v{version}"
        try:
            if _is_whole(target) and not reinstall:
                return Installed(spec.name, spec.version, target, is_new=False)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as folder:
                file = tarball or _download(session, spec, on, environ, Path(folder), progress)
                _verify(file, spec, on, checksum)
                return _put(file, target, spec, reinstall, Path(folder))
        except OSError as error:
            raise TickoverError(
                "plugin-not-installed",
                "Plugin cannot be installed",
                f"{error.filename or target}: {error.strerror or error}.",
                address=spec.name,
            ) from error


def installed(environ: Mapping[str, str]) -> list[Cached]:
    """The whole plugins of the cache."""
    return cached_plugins(plugins_home(environ), RealDisk())


def remove(plugin: Cached) -> None:
    """Take a plugin out of the cache."""
    with _locked(plugin.path):
        partial = _beside(plugin.path, ".partial")
        partial.touch()  # from here on nobody takes it for whole
        shutil.rmtree(plugin.path, ignore_errors=False)
        partial.unlink(missing_ok=True)
    for suffix in (".lock", ".lastused"):
        _beside(plugin.path, suffix).unlink(missing_ok=True)


def _session() -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = "tickover"
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=_RETRY))
    return session


# --- download ----------------------------------------------------------------------------------------


def _newest(session: requests.Session, spec: PackageSpec, environ: Mapping[str, str]) -> str:
    origin = newest_release(spec)
    if origin is None:
        raise ConfigError(
            "no-plugin-version",
            "Which version?",
            f"{spec.download_url} cannot be asked for the newest version of {spec.name}.",
            address=spec.name,
            hint=f"tickover plugin install {KIND} {spec.name} VERSION --server {spec.download_url}",
        )
    try:
        return str(_release(session, origin, environ)["tag_name"]).removeprefix("v")
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise _not_downloaded(spec, [f"{origin.url}: {_reason(error)}"]) from error


def _download(
    session: requests.Session,
    spec: PackageSpec,
    on: Platform,
    environ: Mapping[str, str],
    folder: Path,
    progress: Progress,
) -> Path:
    """The tarball, from the first address that has it."""
    asset = asset_name(spec.name, spec.version, on)
    file, tried = folder / "plugin.tar.gz", []
    for origin in origins(spec, on, environ):
        try:
            url = origin.url if origin.form is Form.TARBALL else _asset_url(session, origin, asset, environ)
            _fetch(session, replace(origin, url=url), environ, file, progress)
        except (requests.RequestException, _NoAsset, ValueError) as error:
            tried.append(f"{origin.url}: {_reason(error)}")
        else:
            return file
    raise _not_downloaded(spec, tried)


class _NoAsset(Exception):
    """A release without the tarball for this platform."""


def _asset_url(session: requests.Session, origin: Origin, asset: str, environ: Mapping[str, str]) -> str:
    release = _release(session, origin, environ)
    for entry in release.get("assets") or [] if isinstance(release, dict) else []:
        if entry.get("name") == asset:
            return str(entry["url"])
    raise _NoAsset(f"the release has no {asset}")


def _release(session: requests.Session, origin: Origin, environ: Mapping[str, str]) -> Any:
    response = session.get(
        origin.url, headers=_headers(origin, environ, "application/json"), timeout=_TIMEOUT
    )
    response.raise_for_status()
    return response.json()


def _fetch(
    session: requests.Session, origin: Origin, environ: Mapping[str, str], file: Path, progress: Progress
) -> None:
    headers = _headers(origin, environ, "application/octet-stream")
    with session.get(origin.url, headers=headers, timeout=_TIMEOUT, stream=True) as response:
        response.raise_for_status()
        total, done = int(response.headers.get("Content-Length") or 0), 0
        with file.open("wb") as out:
            for chunk in response.iter_content(_CHUNK_BYTES):
                out.write(chunk)
                done += len(chunk)
                progress(done, total)


def _headers(origin: Origin, environ: Mapping[str, str], accept: str) -> dict[str, str]:
    # A tarball is taken as it is: "identity" keeps the server from packing it a second time.
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    if origin.token and (token := environ.get(origin.token)):
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _reason(error: Exception) -> str:
    match error:
        case requests.HTTPError(response=response) if response is not None:
            return f"HTTP {response.status_code}"
        case requests.ConnectTimeout() | requests.ReadTimeout():
            return "no answer in time"
        case requests.exceptions.SSLError():
            return "the server's certificate is not trusted"
        case requests.ConnectionError():
            return "no connection"
        case _NoAsset():
            return str(error)
        case _:
            return f"an answer that cannot be used ({type(error).__name__})"


def _not_downloaded(spec: PackageSpec, tried: list[str]) -> TickoverError:
    lines = "".join(f"\n  {line}" for line in tried)
    offline = all(line.endswith(("no connection", "no answer in time")) for line in tried)
    return TickoverError(
        "plugin-not-downloaded",
        "Plugin cannot be downloaded",
        f"No place has the plugin {spec.name} {spec.version} for this machine:{lines}"
        + ("\nThere seems to be no network here. Fetch the tarball elsewhere, then:" if offline else ""),
        address=spec.name,
        hint=f"tickover plugin install {KIND} {spec.name} {spec.version or 'VERSION'} --file TARBALL",
    )


def _verify(file: Path, spec: PackageSpec, on: Platform, checksum: str) -> None:
    wanted = {text for text in (checksum.strip().lower().removeprefix("sha256:"),) if text}
    if (of_package := spec.checksums.get(on.key)) is not None:
        wanted.add(of_package.hex())
    if not wanted:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if wanted != {found}:
        raise TickoverError(
            "plugin-checksum",
            "Plugin has another checksum",
            f"The tarball of {spec.name} {spec.version} has the sha256 {found}, and "
            f"{' and '.join(sorted(wanted))} was asked for. Nothing was installed.",
            address=spec.name,
        )


# --- the cache ---------------------------------------------------------------------------------------


def _put(file: Path, target: Path, spec: PackageSpec, reinstall: bool, folder: Path) -> Installed:
    """Unpack file in folder, then move it to target under the lock that the Pulumi CLI takes too."""
    with _locked(target):
        if _is_whole(target) and not reinstall:  # somebody else was faster
            return Installed(spec.name, spec.version, target, is_new=False)
        unpacked = folder / "unpacked"
        unpacked.mkdir(mode=0o700)
        try:
            with tarfile.open(file, "r:gz") as archive:
                archive.extractall(unpacked, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise _bad_archive(spec, str(error)) from error
        _require_plugin(unpacked, spec)
        partial = _beside(target, ".partial")
        partial.touch()  # nobody takes what is there for whole while it is exchanged
        if target.exists():
            shutil.rmtree(target)
        unpacked.rename(target)
        partial.unlink()
    return Installed(spec.name, spec.version, target)


def _require_plugin(folder: Path, spec: PackageSpec) -> None:
    binary = folder / binary_name(spec.name)
    if binary.is_file():
        binary.chmod(binary.stat().st_mode | 0o100)
    elif not (folder / PLUGIN_FILE).is_file():
        raise _bad_archive(spec, f"it holds neither {binary.name} nor {PLUGIN_FILE}")


def _bad_archive(spec: PackageSpec, why: str) -> TickoverError:
    return TickoverError(
        "plugin-bad-archive",
        "Plugin archive cannot be used",
        f"The tarball of {spec.name} {spec.version} cannot be used: {why.rstrip('.')}. "
        "Nothing was installed.",
        address=spec.name,
    )


def _is_whole(target: Path) -> bool:
    return target.is_dir() and not _beside(target, ".partial").exists()


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    with _beside(target, ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


def _require_name(name: str) -> None:
    if not _NAME.match(name):
        raise ConfigError(
            "bad-plugin-name",
            "Not a plugin's name",
            f"{name!r} is no name of a plugin; it must be of letters, digits, '.', '-' and '_'.",
            address=name,
        )
