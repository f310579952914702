"""Queries: one question to many members, over the mesh, and their answers as they come.

A query is a message that an ordinary handler answers, sent to each member that offers its service instead of to the
owner of a key. Every member is asked once, never again, so that it answers at most once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.builtin import MONITORING, NAMESPACE
from swimring.codec import encode
from swimring.errors import ConfigError, InvalidRequest, NodeClosed
from swimring.patterns import Pattern
from swimring.rpc import outgoing
from swimring.service import Answer

from .groups import lone_error_raised_bare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from swimring.rpc import Outgoing, Routing
    from swimring.swim import Member

AT_ONCE: Final = 64
"""Members that one query asks at the same time; as many answers wait to be taken, then no more are asked."""

_ROUTING: Final = frozenset({"ns", "cmd", "key"})


class Answers:
    """The answers to one query, in the order in which they come. Iterate it once; it ends when all have answered.

    At most 64 members are asked at once, and the next ones when answers were taken: a slow reader slows the query.
    """

    def __init__(self, names: Iterable[str], received: trio.MemoryReceiveChannel[Answer]) -> None:
        """Made by `Node.query`; ``unanswered`` are those asked whose answer has not been taken yet."""
        self.unanswered = set(names)
        self._received = received

    def __aiter__(self) -> Answers:
        return self

    async def __anext__(self) -> Answer:
        answer = await self._received.__anext__()
        self.unanswered.discard(answer.member)
        return answer


def query_message(ns: str, name: str, payload: Mapping[str, Any] | None) -> Outgoing:
    """The message that asks ``name`` of a member that offers ``ns``.

    Raises:
        InvalidRequest: the payload is no mapping, has one of the fields that route a message, or has no place on the
            wire.
    """
    fields = {} if payload is None else payload
    if not isinstance(fields, Mapping):
        raise InvalidRequest(f"query {name!r}: the payload is a mapping of the handler's parameters")
    if taken := _ROUTING & fields.keys():
        raise InvalidRequest(f"query {name!r}: {min(taken)!r} routes a message and is no field of a query")
    out = outgoing({**fields, "ns": ns, "cmd": name})
    encode(dict(out.fields))  # what cannot be sent at all is one error here, not one of each member
    return out


def queried(
    members: Iterable[Member], *, ns: str, to: Iterable[str] | None, tags: Mapping[str, object] | None
) -> list[str]:
    """The names of those to ask, in order: who offers ``ns`` and takes part, or ``to`` whatever they offer.

    Names in ``to`` that nobody here has stay in, so that the answers say so. Only members whose tags match are asked.

    Raises:
        ConfigError: ``to`` is one text instead of several, or ``tags`` is no pattern.
    """
    if isinstance(to, str):
        raise ConfigError("to", to, "give a list of names, even if it is one")
    asked = None if to is None else set(to)
    wanted = Pattern(dict(tags or {}))
    known = {member.name: member for member in members if member.status.active}

    def is_asked(member: Member) -> bool:
        offers = ns in {NAMESPACE, MONITORING} or ns in member.metadata.services
        return (offers if asked is None else member.name in asked) and wanted.matches(member.metadata.tags)

    names = {member.name for member in known.values() if is_asked(member)}
    return sorted(names | ((asked or set()) - known.keys()))


@asynccontextmanager
async def open_query(routing: Routing, out: Outgoing, names: Sequence[str]) -> AsyncIterator[Answers]:
    """Ask all ``names`` while the block runs; leaving it cancels the questions that are still open."""
    send, receive = trio.open_memory_channel[Answer](0)
    with lone_error_raised_bare() as block:
        async with trio.open_nursery() as nursery:
            with receive, send:
                left = iter(names)
                for _ in range(min(AT_ONCE, len(names))):
                    nursery.start_soon(_ask_on, routing, out, left, send.clone())
                send.close()
                with block.watched():
                    yield Answers(names, receive)
            nursery.cancel_scope.cancel()


async def _ask_on(
    routing: Routing, out: Outgoing, names: Iterator[str], answers: trio.MemorySendChannel[Answer]
) -> None:
    with answers:
        for name in names:
            try:
                answer = Answer(member=name, value=await routing.request_at(name, out))
            except NodeClosed:
                raise
            except Exception as error:  # noqa: BLE001 - whatever became of it is what this member answered
                answer = Answer(member=name, error=error)
            await answers.send(answer)
