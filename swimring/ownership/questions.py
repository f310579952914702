"""The questions of claims on their way to other nodes: those about many keys share a message to each.

A question is asked until it is answered, or its node is gone, or nobody wants to know any more.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.errors import CallError, HandlerFailed, InvalidRequest, NoSuchHandler, RemoteProtocolError

from .fences import MAX_FENCE
from .holdings import read_copy
from .lines import Lines

if TYPE_CHECKING:
    from collections.abc import Collection

    from .asking import Asking
    from .holdings import Copy, Place

MAX_CLAIMS: Final = 256
"""In one message."""
MAX_BYTES: Final = 256 * 1024
MAX_OTHERS: Final = 16
REFUSED: Final = 0
"""The answer for a key that another node owns by the ring of who is asked."""
ALONE: Final = 1
"""The answer for a key that has to be asked for alone, because the answer takes time or room."""
_PER_CLAIM: Final = 192
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one node said about one key."""

    seen: int
    """The greatest number of a fence that it had seen before."""
    copy: Copy | None
    """Its copy, if that is newer than the one it was told of."""
    others: list[str]
    """Who may hold the key as well."""


@dataclass(eq=False, slots=True, kw_only=True)
class _Wave:
    """Questions about one key, asked at once."""

    place: Place
    number: int
    have: list[Any] | None
    left: int
    """Nodes that have not answered."""
    heard: list[Heard] = field(default_factory=list)
    over: trio.Event = field(default_factory=trio.Event)
    unwanted: bool = False
    """Whether nobody wants to know any more."""
    alone: set[trio.CancelScope] = field(default_factory=set)
    """Around each question that has a call of its own."""
    pause: float = _FIRST_PAUSE

    def end(self) -> None:
        """Nobody wants to know any more."""
        self.unwanted = True
        for scope in self.alone:
            scope.cancel()

    def hear(self, answer: Any) -> None:
        """What one node said; None if it is gone. Whoever answers nonsense holds nothing that could be used."""
        with contextlib.suppress(RemoteProtocolError):
            self.heard.append(_read(answer))
        self.left -= 1
        if not self.left:
            self.over.set()


class Questions:
    """What one node asks the others about keys that it claims.

    As many wait as there are keys being claimed, which the calls that wait for them bound.
    """

    def __init__(self, asking: Asking, *, nursery: trio.Nursery) -> None:
        """Ask through ``asking``; the tasks belong to ``nursery``."""
        self._asking = asking
        self._nursery = nursery
        self._named: dict[str, set[str]] = {}  # by who refused, in favour of whom
        self._lines: Lines[_Wave] = Lines(
            self._send, cost=_cost, most=MAX_CLAIMS, most_bytes=MAX_BYTES, nursery=nursery
        )

    async def ask(self, names: Collection[str], place: Place, number: int, have: Copy | None) -> list[Heard]:
        """Claim ``place`` from all of ``names``; what those said that are not gone."""
        version = None if have is None else [have.fence.number, have.fence.owner, have.sequence]
        wave = _Wave(place=place, number=number, have=version, left=len(names))
        for name in names:
            self._lines.put(name, wave)
        try:
            await wave.over.wait()
        finally:
            wave.end()
        return wave.heard

    async def _send(self, name: str, waves: list[_Wave]) -> None:
        wanted = [wave for wave in waves if not wave.unwanted]
        if not wanted:
            await trio.lowlevel.checkpoint()
        elif not self._asking.is_here(name):
            await trio.lowlevel.checkpoint()
            for wave in wanted:
                wave.hear(None)
        else:
            await self._send_wanted(name, wanted)

    async def _send_wanted(self, name: str, waves: list[_Wave]) -> None:
        me = self._asking.me
        claims = [[*wave.place, wave.number, wave.have] for wave in waves]
        records = self._asking.records({me, *self._named.get(name, ())})
        try:
            answer = await self._asking.ask(name, "claims", {"claims": claims, "records": records})
        except (NoSuchHandler, InvalidRequest, HandlerFailed):
            answer = [[ALONE] * len(waves), []]  # an older version, or one of them is malformed: see which
        except CallError:
            self._nursery.start_soon(self._ask_again, name, waves)
            return
        refused = []
        for wave, one in zip(waves, self._read(name, answer, len(waves)), strict=True):
            if one == REFUSED:
                refused.append(wave)
            elif one == ALONE:
                self._nursery.start_soon(self._ask_alone, name, wave)
            else:
                wave.hear(one)
        if refused:
            self._nursery.start_soon(self._ask_again, name, refused)

    def _read(self, name: str, answer: Any, count: int) -> list[Any]:
        """The answers, one for each wave; learns from what refusals show."""
        match answer:
            case [list(answers), list(records), *_] if len(answers) == count:
                named = self._asking.learn(records) if records else set()
                if REFUSED in answers:
                    self._named.setdefault(name, set()).update(named)
                else:
                    self._named.pop(name, None)
                return answers
        return [None] * count

    async def _ask_again(self, name: str, waves: list[_Wave]) -> None:
        """After a pause, or when the rings have changed."""
        await self._asking.wait(min(wave.pause for wave in waves))
        for wave in waves:
            wave.pause = min(2 * wave.pause, _LONGEST_PAUSE)
            self._lines.put(name, wave)

    async def _ask_alone(self, name: str, wave: _Wave) -> None:
        """With a call of its own, which may take as long as the budget of a scope."""
        service, key = wave.place
        fields = {"service": service, "subject": key, "number": wave.number, "have": wave.have}
        with trio.CancelScope() as scope:
            wave.alone.add(scope)
            if not wave.unwanted:
                answer = await self._asking.ask_until_gone(name, "claim", fields)
                match answer:
                    case [_, _, _, list(records), *_]:
                        self._asking.learn(records)
                wave.hear(answer)
        wave.alone.discard(scope)


def _cost(wave: _Wave) -> int:
    return len(wave.place[1]) + _PER_CLAIM


def _read(answer: Any) -> Heard:
    match answer:
        case [int(seen), copy, list(others), *_] if 0 <= seen <= MAX_FENCE:
            names = [name for name in others if isinstance(name, str)][:MAX_OTHERS]
            return Heard(seen=seen, copy=None if copy is None else read_copy(copy), others=names)
    raise RemoteProtocolError("malformed answer to a claim")
