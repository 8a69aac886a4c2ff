"""Image references."""

from __future__ import annotations

import pytest

from components.image import named_reference
from tickover.imageref import is_version_tag, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("reference", "repository", "tag", "digest", "pinned"),
    [
        ("vllm/vllm-openai:v0.32.0", "vllm/vllm-openai", "v0.32.0", "", True),
        ("vllm/vllm-openai:latest", "vllm/vllm-openai", "latest", "", False),
        (f"a/b@{DIGEST}", "a/b", "", DIGEST, True),
        (f"reg.example.com:5000/a/b:latest@{DIGEST}", "reg.example.com:5000/a/b", "latest", DIGEST, True),
        ("localhost:5000/a:1.0", "localhost:5000/a", "1.0", "", True),
    ],
)
def test_the_parts_of_a_reference(
    reference: str, repository: str, tag: str, digest: str, pinned: bool
) -> None:
    parsed = parse_reference(reference)
    assert (parsed.repository, parsed.tag, parsed.digest) == (repository, tag, digest)
    assert parsed.is_pinned is pinned


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("a/b", "no tag and no digest"),
        ("localhost:5000/a", "no tag and no digest"),
        ("a/b@sha256:12", "64 hexadecimal digits"),
        ("A/b:v1.0", "lower case"),
        ("a b:v1.0", "not a repository"),
        ("a:", "not a tag"),
        ("", "not a repository"),
        ("http://a/b:v1.0", "not a repository"),
    ],
)
def test_what_is_no_reference(reference: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        named_reference(reference)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v0.32.0", True),
        ("0.11.0-cu126", True),
        ("24.05-py3", True),
        ("20260801", True),
        ("3f2c9d1", True),
        ("latest", False),
        ("main", False),
        ("v1", False),
        ("nightly", False),
        ("stable", False),
        ("", False),
    ],
)
def test_which_tags_are_versions(tag: str, version: bool) -> None:
    assert is_version_tag(tag) is version
