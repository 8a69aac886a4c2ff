"""Pinned images on disk."""

import pytest

from tickover.host.runtimes import docker_pins
from tickover.host.runtimes.docker_pins import FilePins


def test_the_next_host_reads_what_this_one_pinned(tmp_path):
    pins = FilePins(tmp_path / "images.json")
    pins["a"], pins["b"] = "image@sha256:1", "image@sha256:2"
    del pins["a"]
    assert dict(FilePins(tmp_path / "images.json")) == {"b": "image@sha256:2"}


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_file_that_is_none_is_begun_anew(tmp_path, text):
    path = tmp_path / "images.json"
    path.write_text(text)
    pins = FilePins(path)
    assert dict(pins) == {}
    pins["a"] = "x"
    assert dict(FilePins(path)) == {"a": "x"}


def test_the_oldest_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(docker_pins, "MOST", 2)
    pins = FilePins(tmp_path / "images.json")
    for key in "abca":
        pins[key] = key
    assert list(FilePins(tmp_path / "images.json")) == ["c", "a"]


def test_a_disk_that_cannot_be_written_costs_the_pin_only(tmp_path):
    (tmp_path / "images.new").mkdir()
    pins = FilePins(tmp_path / "images.json")
    pins["a"] = "x"
    assert pins["a"] == "x" and not (tmp_path / "images.json").exists()
