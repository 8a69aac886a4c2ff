"""Where a plugin can be downloaded from, by the rules of the Pulumi CLI.

Owns: the addresses that a plugin's name and download URL mean. Promises: pure functions; the same
addresses, in the same order, that Pulumi asks. Never: makes a request.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import quote_plus, urlsplit

from tickover.engine.packages import PackageSpec
from tickover.errors import ConfigError

OVERRIDES: Final = "PULUMI_PLUGIN_DOWNLOAD_URL_OVERRIDES"
_USUAL: Final = "https://get.pulumi.com/releases/plugins"
_GITHUB: Final = "api.github.com"
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class Form(Enum):
    """What an address answers."""

    TARBALL = "tarball"
    RELEASE = "release"  # GitHub's description of a release, which names the tarball's address


@dataclass(frozen=True, slots=True)
class Origin:
    """One address to ask. token: the environment variable whose token the request carries, if any."""

    url: str
    form: Form = Form.TARBALL
    token: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system and machine as Go names them."""

    system: str
    machine: str

    @property
    def key(self) -> str:
        """The platform as checksums are listed by."""
        return f"{self.system}-{self.machine}"


def this_platform() -> Platform:
    machine = platform.machine().lower()
    return Platform(sys.platform.replace("win32", "windows"), _MACHINES.get(machine, machine))


def asset_name(name: str, version: str, on: Platform) -> str:
    """The tarball's name."""
    return f"pulumi-resource-{name}-v{version}-{on.key}.tar.gz"


def origins(spec: PackageSpec, on: Platform, environ: Mapping[str, str]) -> tuple[Origin, ...]:
    """What to ask for the tarball, in order. Raises ConfigError for a URL of an unknown kind."""
    url = spec.download_url
    if url:
        return _of(_overridden(_base(spec, url), environ) or url, spec, on)
    base = f"github://{_GITHUB}/pulumi/pulumi-{spec.name}"
    if (other := _overridden(base, environ)) is not None:
        return _of(other, spec, on)
    return _of(base, spec, on) + _of(_overridden(_USUAL, environ) or _USUAL, spec, on)


def newest_release(spec: PackageSpec) -> Origin | None:
    """What tells the newest version, where anything does."""
    url = spec.download_url or f"github://{_GITHUB}/pulumi"
    if not url.startswith("github://"):
        return None
    host, organization, repository = _github(url, spec.name)
    return Origin(
        f"https://{host}/repos/{organization}/{repository}/releases/latest", Form.RELEASE, "GITHUB_TOKEN"
    )


def _of(url: str, spec: PackageSpec, on: Platform) -> tuple[Origin, ...]:
    scheme = urlsplit(url).scheme
    asset = asset_name(spec.name, spec.version, on)
    match scheme:
        case "http" | "https":
            return (Origin(f"{_filled(url, spec, on).rstrip('/')}/{quote_plus(asset)}"),)
        case "github":
            return _from_github(url, spec, asset)
        case "gitlab":
            parts = urlsplit(url)
            project = parts.path.strip("/")
            if not parts.netloc or not project or "/" in project:
                raise _bad(url, "it must be gitlab://HOST/PROJECT")
            base = f"https://{parts.netloc}/api/v4/projects/{project}/releases/v{spec.version}/downloads"
            return (Origin(f"{base}/{asset}", token="GITLAB_TOKEN"),)
        case _:
            raise _bad(url, f"plugins are not fetched by {scheme or 'no scheme'!r}")


def _from_github(url: str, spec: PackageSpec, asset: str) -> tuple[Origin, ...]:
    host, organization, repository = _github(url, spec.name)
    release = Origin(
        f"https://{host}/repos/{organization}/{repository}/releases/tags/v{spec.version}",
        Form.RELEASE,
        "GITHUB_TOKEN",
    )
    if host != _GITHUB or organization != "pulumi":
        return (release,)
    direct = f"https://github.com/{organization}/{repository}/releases/download/v{spec.version}/{asset}"
    return (Origin(direct), release)


def _github(url: str, name: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    path = parts.path.strip("/").split("/")
    if not parts.netloc or not path[0] or len(path) > 2:
        raise _bad(url, "it must be github://HOST/ORGANIZATION[/REPOSITORY]")
    return parts.netloc, path[0], path[1] if len(path) == 2 else f"pulumi-{name}"


def _base(spec: PackageSpec, url: str) -> str:
    """The URL in the form that overrides are written for."""
    return "github://" + "/".join(_github(url, spec.name)) if url.startswith("github://") else url


def _filled(url: str, spec: PackageSpec, on: Platform) -> str:
    values = {"NAME": spec.name, "VERSION": spec.version, "OS": on.system, "ARCH": on.machine}
    for key, value in values.items():
        for written in (f"${{{key}}}", f"$%7B{key}%7D"):
            url = url.replace(written, quote_plus(value))
    return url


def _overridden(url: str, environ: Mapping[str, str]) -> str | None:
    for entry in filter(None, environ.get(OVERRIDES, "").split(",")):
        pattern, _, other = entry.partition("=")
        if not pattern or not other:
            raise _bad(entry, f"{OVERRIDES} must hold PATTERN=URL entries separated by commas")
        try:
            match = re.search(pattern, url)
        except re.error as error:
            raise _bad(entry, f"{OVERRIDES} holds a pattern that is not one ({error})") from error
        if match is None:
            continue
        for name, value in match.groupdict(default="").items():
            other = other.replace(f"${{{name}}}", value)
        for number, value in enumerate((match.group(0), *match.groups(default=""))):
            other = other.replace(f"${number}", value)
        return other
    return None


def _bad(url: str, why: str) -> ConfigError:
    return ConfigError(
        "bad-plugin-url", "Plugin address cannot be used", f"{url!r} cannot be used: {why}.", address=url
    )
