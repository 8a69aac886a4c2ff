"""One docker provider call at work: the engine, what to say, how to wait, and errors explained.

Owns: the connection to the engine and the form of a call. Promises: foreign errors leave as
`TickoverError`; cancelling ends every wait; nothing connects before the first call. Never: knows a resource.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from tickover.engine.provider import ProviderLog, Severity
from tickover.errors import ConfigError, Exit, TickoverError
from tickover.provider.docker import faults
from tickover.provider.docker.config import Login, Settings
from tickover.provider.docker.names import parse

CONNECT_SECONDS: Final = 15.0
Sleep = Callable[[float], Awaitable[None]]
Result = TypeVar("Result")


class Daemon:
    """The engine's API, connected when first used. settings: where and with which credentials."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client: Any = None

    @property
    def host(self) -> str:
        """The engine's address, for messages."""
        return self.settings.host

    @property
    def api(self) -> Any:
        """aiodocker's client: half of its methods have no types, so it is used untyped."""
        if self._client is None:
            # Imported here: a program without docker resources need not load an HTTP library.
            import aiodocker
            import aiohttp

            self._client = aiodocker.Docker(
                url=_web(self.settings),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS),
                ssl_context=_tls(self.settings),
            )
        return self._client

    def login_for(self, image: str) -> Login | None:
        """The credentials for the registry of image, if there are any."""
        return self.settings.logins.get(parse(image).registry)

    async def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            await self._client.close()
            self._client = None


def _web(settings: Settings) -> str:
    """The host as aiohttp wants it, which knows no ``tcp://``."""
    scheme = "https://" if settings.cert_path else "http://"
    return settings.host.replace("tcp://", scheme, 1)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.cert_path or settings.host.startswith("unix://"):
        return None
    folder = Path(settings.cert_path).expanduser()
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            "docker-certificates",
            "Docker certificates cannot be read",
            f"{folder} must hold ca.pem, cert.pem and key.pem: {error}.",
            "docker:certPath",
        ) from error
    return context


@dataclass(frozen=True, slots=True)
class Run:
    """What a handler may use while it serves one request. what: ``container web``, for messages."""

    daemon: Daemon
    log: ProviderLog
    urn: str
    what: str
    cancelled: asyncio.Event = field(repr=False)
    sleep: Sleep = asyncio.sleep
    hidden: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def api(self) -> Any:
        return self.daemon.api

    def say(self, message: str, *, severity: Severity = Severity.INFO, ephemeral: bool = True) -> None:
        """A line about this resource; progress unless said otherwise."""
        self.log(severity, self.urn, faults.scrub(message, self.hidden), ephemeral=ephemeral)

    def explain(self, status: int, message: str) -> TickoverError:
        """The engine's refusal as an error."""
        return faults.explain(status, message, self.what, self.daemon.host, self.hidden)


async def until_done(work: Coroutine[Any, Any, Result], run: Run, seconds: float) -> Result:
    """work's result, its foreign errors explained. It ends early on cancel and after seconds (0: never)."""
    import aiodocker
    import aiohttp

    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(run.cancelled.wait())
    try:
        await asyncio.wait({task, stop}, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
        early = not task.done()
        if early:
            task.cancel()
            await asyncio.wait({task})
        if early and task.cancelled():
            raise _ended(run, seconds)
        return task.result()
    except aiodocker.DockerError as error:
        raise run.explain(error.status, error.message) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise faults.unreachable(run.daemon.host, faults.scrub(str(error), run.hidden)) from error
    finally:
        await _end(task, stop)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs and wait for it: no task is left behind."""
    left: Iterable[asyncio.Future[Any]] = [t for t in tasks if not t.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


def _ended(run: Run, seconds: float) -> TickoverError:
    if run.cancelled.is_set():
        return TickoverError(
            "cancelled", "Cancelled", f"Work on {run.what} was cancelled.", run.what, "", Exit.CANCELLED
        )
    return TickoverError(
        "timeout",
        "Took too long",
        f"{run.what} was not done after {seconds:g} s.",
        run.what,
        "customTimeouts of the resource sets another limit",
        Exit.TIMEOUT,
    )


def is_missing(error: Any) -> bool:
    """True for the engine's "there is no such thing"."""
    return bool(error.status == 404)


async def inspect(call: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """The object, or None if the engine has none."""
    import aiodocker

    try:
        return await call
    except aiodocker.DockerError as error:
        if is_missing(error):
            return None
        raise
