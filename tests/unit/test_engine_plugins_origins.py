"""Which addresses a plugin's name and download URL mean."""

from __future__ import annotations

import pytest

from tickover.engine.packages import PackageSpec
from tickover.engine.plugins.origins import (
    OVERRIDES,
    Form,
    Origin,
    Platform,
    newest_release,
    origins,
    this_platform,
)
from tickover.errors import ConfigError

LINUX = Platform("linux", "amd64")
TARBALL = "pulumi-resource-random-v4.16.7-linux-amd64.tar.gz"


def of(url: str = "", **environ: str) -> tuple[Origin, ...]:
    return origins(PackageSpec("random", "4.16.7", url), LINUX, environ)


def urls(url: str = "", **environ: str) -> list[str]:
    return [origin.url for origin in of(url, **environ)]


def test_a_plugin_of_pulumi_is_asked_for_at_github_then_at_pulumi() -> None:
    direct, release, usual = of()
    assert direct.url == f"https://github.com/pulumi/pulumi-random/releases/download/v4.16.7/{TARBALL}"
    assert not direct.token
    assert release == Origin(
        "https://api.github.com/repos/pulumi/pulumi-random/releases/tags/v4.16.7",
        Form.RELEASE,
        "GITHUB_TOKEN",
    )
    assert usual.url == f"https://get.pulumi.com/releases/plugins/{TARBALL}"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://x.org/p", f"https://x.org/p/{TARBALL}"),
        ("https://x.org/p/", f"https://x.org/p/{TARBALL}"),
        (
            "https://x.org/${NAME}/$%7BVERSION%7D/${OS}/${ARCH}",
            f"https://x.org/random/4.16.7/linux/amd64/{TARBALL}",
        ),
        ("github://ghe.org/acme", "https://ghe.org/repos/acme/pulumi-random/releases/tags/v4.16.7"),
        ("github://api.github.com/acme/r", "https://api.github.com/repos/acme/r/releases/tags/v4.16.7"),
        ("gitlab://gl.org/77", f"https://gl.org/api/v4/projects/77/releases/v4.16.7/downloads/{TARBALL}"),
    ],
)
def test_other_addresses(url: str, asked: str) -> None:
    assert urls(url) == [asked]


@pytest.mark.parametrize(
    "url",
    ["ftp://x.org", "x.org/p", "git://github.com/a/b", "github://", "github://h/a/b/c", "gitlab://h/a/b"],
)
def test_addresses_that_mean_nothing(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of(url)
    assert caught.value.code == "bad-plugin-url"


def test_a_version_with_a_plus_is_escaped() -> None:
    [origin] = origins(PackageSpec("random", "1.0.0+build", "https://x.org"), LINUX, {})
    assert origin.url == "https://x.org/pulumi-resource-random-v1.0.0%2Bbuild-linux-amd64.tar.gz"


@pytest.mark.parametrize(
    ("overrides", "url", "asked"),
    [
        ("^https://get.pulumi.com=https://m.org", "", f"https://m.org/{TARBALL}"),
        ("^github://.*/(?P<repo>[^/]+)$=https://m.org/${repo}", "", f"https://m.org/pulumi-random/{TARBALL}"),
        ("^github://api.github.com/([a-z]+)/=https://m.org/$1", "github://api.github.com/acme",
         f"https://m.org/acme/{TARBALL}"),
        ("nothing=https://m.org,x.org=https://n.org", "https://x.org", f"https://n.org/{TARBALL}"),
    ],
)  # fmt: skip
def test_overrides(overrides: str, url: str, asked: str) -> None:
    assert urls(url, **{OVERRIDES: overrides})[-1] == asked


@pytest.mark.parametrize("overrides", ["nonsense", "=https://m.org", "x=", "(=https://m.org"])
def test_overrides_that_are_none(overrides: str) -> None:
    with pytest.raises(ConfigError):
        of(**{OVERRIDES: overrides})


def test_who_knows_the_newest_version() -> None:
    origin = newest_release(PackageSpec("random"))
    assert origin is not None
    assert origin.url == "https://api.github.com/repos/pulumi/pulumi-random/releases/latest"
    assert newest_release(PackageSpec("random", download_url="https://x.org")) is None


def test_this_machine_has_a_name_of_gos() -> None:
    on = this_platform()
    assert on.system in ("linux", "darwin", "windows")
    assert on.machine not in ("x86_64", "aarch64")
