"""Where the admin port of a process is, and its metrics if they can be had."""

from __future__ import annotations

import errno
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from swimring.errors import ConfigError, MissingExtra
from swimring.identity import Address

from .site import Site
from .steering import Steering, read_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PORT: Final = 8079
"""The first admin port that a process without settings tries; 19 more follow, for the next nodes of this machine."""
AUTO: Final = "auto"
OFF: Final = "off"

_TRIED: Final = 20
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_log = logging.getLogger("swimring.http")


def open_site(*, write: bool = False, token_file: str | None = None) -> Site:
    """A site with metrics, if the extra ``metrics`` is installed. With ``write`` it takes orders with a token.

    Raises:
        ConfigError: with ``write``, the file with the token is missing, or cannot be used.
    """
    steering = Steering(read_token(token_file)) if write else None
    try:
        from swimring.observe.metrics import Metrics  # noqa: PLC0415 - optional
    except MissingExtra:
        return Site(steering=steering)
    return Site(Metrics(), steering=steering)


@asynccontextmanager
async def open_admin(where: str, site: Site) -> AsyncIterator[str | None]:
    """Let ``site`` answer while the block runs; yields its URL, or None if there is no admin port.

    Args:
        where: HOST or HOST:PORT; ``"off"``; or ``"auto"``: the first free loopback port from 8079, and none without
            the extra.
        site: what answers.

    Raises:
        ConfigError: the address is none, or cannot be bound.
        MissingExtra: an address was given, and the extra ``dashboard`` is not installed.
    """
    async with AsyncExitStack() as stack:
        if where == OFF:
            yield None
        elif where == AUTO:
            yield await _take_free_port(site, stack)
        else:
            address = Address.parse(where, default_port=PORT, setting="admin")
            try:
                url = await _listen(address.host, address.port, site, stack)
            except OSError as error:
                raise ConfigError("admin", where, error.strerror or str(error)) from error
            yield url  # what fails in the block is not of this address


async def _take_free_port(site: Site, stack: AsyncExitStack) -> str | None:
    for port in range(PORT, PORT + _TRIED):
        try:
            return await _listen("127.0.0.1", port, site, stack)
        except MissingExtra:
            return None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return None


async def _listen(host: str, port: int, site: Site, stack: AsyncExitStack) -> str:
    from .server import open_http  # noqa: PLC0415 - needs the extra

    if host not in _LOOPBACK:
        text, facts = "the admin port %s is not on loopback: %s", {"event": "admin.exposed"}
        _log.warning(text, Address(host, port), _danger(site), extra=facts)
    bound = await stack.enter_async_context(open_http(host, port, site.answer, only_local=host in _LOOPBACK))
    return f"http://{Address(host, bound)}/"


def _danger(site: Site) -> str:
    if site.steering.writable:
        return "whoever listens in between learns the token that orders need; put TLS in front of it"
    return "whoever reaches it reads names, addresses and keys; it takes no orders"
