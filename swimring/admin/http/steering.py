"""Orders from the dashboard: drain, cordon, uncordon and evict, for whoever has the token.

A browser sends what any page tells it to; so an order needs a header and a content type that a foreign page cannot
send without our leave, and an ``Origin`` that is ours if there is one.
"""

from __future__ import annotations

import hmac
import json
import logging
import stat
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.builtin import NAMESPACE
from swimring.errors import ConfigError, InvalidRequest, SwimringError, Unreachable
from swimring.service import Request, Service

from .messages import HttpResponse, json_response, problem

if TYPE_CHECKING:
    from swimring.node import Node

    from .messages import HttpRequest

SHORTEST_TOKEN: Final = 16
"""Characters of a token."""
DONE_WITHIN: Final = 10.0
"""Seconds in which the node that is meant has to answer."""
ORDERS: Final = frozenset({"drain", "cordon", "uncordon", "evict"})

_MADE_BY: Final = (
    "make one: (umask 077; head -c 24 /dev/urandom | base64 > admin.token), --admin-token-file admin.token"
)
_READ_AT_MOST: Final = 4_096
_log = logging.getLogger("swimring.http")

_afar: Final = Service(NAMESPACE)


@_afar.on("drain", idempotent=True)
async def _drain(request: Request) -> AsyncIterator[dict[str, int]]:  # noqa: ARG001
    raise NotImplementedError  # it is the node's own that answers
    yield {}


def read_token(path: str | None) -> bytes:
    """The token in the file at ``path``. It blocks.

    Raises:
        ConfigError: there is none, it cannot be read, others than its owner may read it, or it is too short.
    """
    if path is None:
        raise ConfigError("admin-token-file", None, f"--admin-write needs a token; {_MADE_BY}")
    place = Path(path).expanduser()
    try:
        with place.open("rb") as file:
            mode, token = stat.S_IMODE(place.stat().st_mode), file.read(_READ_AT_MOST).strip()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError("admin-token-file", path, f"a file that can be read; this one: {reason}") from error
    if mode & 0o077:
        raise ConfigError(
            "admin_token_file", f"{path} with mode {mode:04o}", f"only its owner may read it: chmod 600 {place}"
        )
    if len(token) < SHORTEST_TOKEN or not token.isascii() or len(token.split()) != 1:
        raise ConfigError(
            "admin_token_file", path, f"one word of at least {SHORTEST_TOKEN} ASCII characters; {_MADE_BY}"
        )
    return token


class Steering:
    """Who may give orders, and what they do."""

    def __init__(self, token: bytes | None = None) -> None:
        """Take orders with this token; without one, none."""
        self._token = token

    @property
    def writable(self) -> bool:
        """Whether any orders are taken."""
        return self._token is not None

    async def answer(self, node: Node, request: HttpRequest) -> HttpResponse:
        """Do what ``POST /api/orders/ORDER`` with ``{"node": NAME}`` says, if it may be said."""
        if (refusal := self._refuse(request)) is not None:
            return refusal
        order = request.path.rpartition("/")[2]
        name = _name_in(request.body)
        if order not in ORDERS:
            return problem(404, f"there is no such order; there are {', '.join(sorted(ORDERS))}")
        if name is None:
            return problem(400, 'the body is {"node": NAME}')
        _log.warning("the dashboard orders: %s %r", order, name, extra={"event": "admin.order"})
        try:
            with trio.fail_after(DONE_WITHIN):
                await _obey(node, order, name)
        except trio.TooSlowError:
            return problem(504, f"{name} did not answer within {DONE_WITHIN:g} s; it may have done it")
        except (ConfigError, InvalidRequest) as error:
            return problem(409, error.allowed if isinstance(error, ConfigError) else error.reason)
        except SwimringError as error:
            return problem(502, str(error))
        return json_response({"order": order, "node": name})

    def _refuse(self, request: HttpRequest) -> HttpResponse | None:
        """Why this request may not give orders; None if it may."""
        if self._token is None:
            return problem(403, "this port only tells; --admin-write and --admin-token-file let it take orders")
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        if origin is not None and origin.lower() not in {f"http://{host}".lower(), f"https://{host}".lower()}:
            return problem(403, "orders are taken from this port's own page only")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return problem(415, "an order is application/json")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode("latin-1"), self._token):
            _log.warning("an order with a wrong token, or none, was refused", extra={"event": "admin.refused"})
            refused = problem(401, "wrong token")
            return HttpResponse(
                status=401,
                body=refused.body,
                content_type=refused.content_type,
                headers={"WWW-Authenticate": 'Bearer realm="swimring"'},
            )
        return None


def _name_in(body: bytes) -> str | None:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    name = value.get("node") if isinstance(value, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= 255 else None


async def _obey(node: Node, order: str, name: str) -> None:
    if order == "evict":
        await _evict(node, name)
    elif order == "drain":
        async with node.peer(name).open(_drain) as moving:
            await anext(moving)
    else:
        await node.peer(name).request({"ns": NAMESPACE, "cmd": order}, idempotent=True)


async def _evict(node: Node, name: str) -> None:
    """Have it declared dead, by another node if it is this one."""
    if name != node.name:
        await node.evict(name)
        return
    other = next((member.name for member in node.members if member.name != name and member.status.active), None)
    if other is None:
        raise Unreachable(f"no other member is here that could declare {name} dead", owner=name)
    await node.peer(other).request({"ns": NAMESPACE, "cmd": "evict", "name": name}, idempotent=True)
