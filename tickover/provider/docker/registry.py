"""A registry's manifests: which digest a tag has, and removing one.

Owns: the HTTP of the registry API, with passwords and tokens. Promises: credentials go to the registry they
are for and into no message; plain HTTP is used for loopback registries only, or when the address says so.
Never: moves layers; the engine does that.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from tickover.errors import Exit, TickoverError
from tickover.provider.docker.config import Login
from tickover.provider.docker.names import HUB, ImageName

_ACCEPT: Final = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
_LOOPBACK: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
_SECONDS: Final = 30.0


async def digest(image: ImageName, login: Login | None, *, verify: bool = True) -> str | None:
    """The digest that image's tag has in its registry; None if there is none."""
    async with _answer("HEAD", image, image.reference, login, verify) as answer:
        if answer.status == 404:
            return None
        _expect(answer, image, (200,))
        return answer.headers.get("Docker-Content-Digest") or None


async def remove(image: ImageName, known: str, login: Login | None, *, verify: bool = True) -> None:
    """Remove the manifest with digest known. What is not there is fine."""
    async with _answer("DELETE", image, known, login, verify) as answer:
        if answer.status == 405:
            raise TickoverError(
                "registry-keeps",
                "Registry does not delete",
                f"{image.registry} does not allow its images to be deleted, so {image.full} stays there.",
                image.full,
                "keep_remotely=True leaves it there without this error",
                Exit.RESOURCE,
            )
        if answer.status != 404:
            _expect(answer, image, (200, 202))


@asynccontextmanager
async def _answer(
    method: str, image: ImageName, reference: str, login: Login | None, verify: bool
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The registry's answer, after it was given what it asked for: a password, or a token made of one."""
    checks: ssl.SSLContext | bool = verify
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    url = f"{_base(image, login)}/v2/{image.repository}/manifests/{reference}"
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=checks)) as session:
        headers = {"Accept": _ACCEPT}
        try:
            async with session.request(method, url, headers=headers) as first:
                wanted = first.headers.get("WWW-Authenticate", "") if first.status == 401 else ""
                if not wanted:
                    yield first
                    return
            allowed = {**headers, **await _authorization(session, wanted, image, login)}
            async with session.request(method, url, headers=allowed) as second:
                yield second
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise TickoverError(
                "registry-unreachable",
                "Registry does not answer",
                f"{image.registry} does not answer: {error or 'no answer in time'}.",
                image.full,
                exit_code=Exit.RESOURCE,
            ) from error


def _base(image: ImageName, login: Login | None) -> str:
    if login is not None and login.address.startswith("http://"):
        return f"http://{image.registry}"
    if image.registry == HUB:
        return "https://registry-1.docker.io"
    https = login is not None and login.address.startswith("https://")
    scheme = "http" if _LOOPBACK.fullmatch(image.registry) and not https else "https"
    return f"{scheme}://{image.registry}"


async def _authorization(
    session: aiohttp.ClientSession, wanted: str, image: ImageName, login: Login | None
) -> Mapping[str, str]:
    scheme, _, rest = wanted.partition(" ")
    basic = _basic(login)
    if scheme.lower() == "basic":
        return basic
    asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if scheme.lower() != "bearer" or "realm" not in asked:
        return {}
    scope = asked.get("scope") or f"repository:{image.repository}:pull"
    query = {"scope": scope} | ({"service": asked["service"]} if "service" in asked else {})
    async with session.get(asked["realm"], params=query, headers=basic) as answer:
        if answer.status != 200:
            raise _denied(image, answer.status)
        told: dict[str, Any] = await answer.json(content_type=None)
    return {"Authorization": f"Bearer {told.get('token') or told.get('access_token') or ''}"}


def _basic(login: Login | None) -> Mapping[str, str]:
    if login is None or not login.username:
        return {}
    pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _expect(answer: aiohttp.ClientResponse, image: ImageName, good: tuple[int, ...]) -> None:
    if answer.status in good:
        return
    if answer.status in (401, 403):
        raise _denied(image, answer.status)
    raise TickoverError(
        "registry-refused",
        "Registry refused",
        f"{image.registry} answered {answer.status} about {image.full}.",
        image.full,
        exit_code=Exit.RESOURCE,
    )


def _denied(image: ImageName, status: int) -> TickoverError:
    return TickoverError(
        "registry-denied",
        "Registry refuses access",
        f"{image.registry} answered {status}: it wants other credentials for {image.full}.",
        image.full,
        "docker:registryAuth needs an entry with address, username and password",
        Exit.AUTHENTICATION,
    )
