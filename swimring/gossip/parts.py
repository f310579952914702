"""What is said in an exchange of states: in portions that fit a frame each, and put together again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from swimring.codec import encode
from swimring.swim import MAX_FRAME, MEMBERS_LIMIT, Broadcast, BytesRefused, Member, Replay, Rumour, State, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swimring.identity import NodeId
    from swimring.swim import Recap

PART_SIZE: Final = MAX_FRAME - 1024
PARTS_LIMIT: Final = 256


class Heard:
    """What somebody said in all parts of its turn; at most 256 frames of 64 KiB, and 65,536 of each kind of thing.

    ``records`` are those it showed; ``digest``, ``wanted``, ``recap`` and ``checksum`` are None if it said nothing of
    them.
    """

    def __init__(self, source: NodeId) -> None:
        """Nothing yet from ``source``."""
        self.source = source
        self.records: list[Member] = []
        self.digest: list[Summary] | None = None
        self.wanted: list[str] | None = None
        self.recap: Recap | None = None
        self.checksum: int | None = None
        self.refuted = False

    def take(self, state: State, rumours: Iterable[Rumour]) -> None:
        """Add one part.

        Raises:
            BytesRefused: nobody holds so many records.
        """
        self.records += [rumour.member for rumour in rumours]
        if state.digest is not None:
            self.digest = self.digest or []
            self.digest += state.digest
        if state.wanted is not None:
            self.wanted = self.wanted or []
            self.wanted += state.wanted
        self.recap = self.recap or state.recap
        self.checksum = state.checksum if self.checksum is None else self.checksum
        if max(len(self.records), len(self.digest or ()), len(self.wanted or ())) > MEMBERS_LIMIT:
            raise BytesRefused("oversized", f"a state of more than {MEMBERS_LIMIT} members")


@dataclass(slots=True)
class _Part:
    rumours: list[Rumour] = field(default_factory=list)
    digest: list[Summary] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)


def parts(
    records: Iterable[Rumour],
    *,
    digest: Sequence[Summary] | None = None,
    wanted: Sequence[str] | None = None,
    recap: Recap | None = None,
    checksum: int | None = None,
) -> list[tuple[State, tuple[Rumour, ...]]]:
    """The messages that say all this, each with the rumours of its envelope; at least one, and the last one says so.

    Each of them has a digest and a list of names if there is one at all, so the first one shows what is to come.
    """
    filled = list(_fill([*records, *(digest or ()), *(wanted or ())]))
    return [
        (
            State(
                more=number < len(filled),
                digest=None if digest is None else tuple(part.digest),
                wanted=None if wanted is None else tuple(part.wanted),
                recap=recap if number == 1 else None,
                checksum=checksum if number == 1 else None,
            ),
            tuple(part.rumours),
        )
        for number, part in enumerate(filled, start=1)
    ]


def replays(
    broadcasts: Sequence[Broadcast], *, wanted: tuple[bytes, ...] = ()
) -> list[tuple[Replay, tuple[Broadcast, ...]]]:
    """The messages that tell ``broadcasts``, each with those of its envelope; at least one, and the first one asks."""
    told: list[list[Broadcast]] = [[]]
    size = sum(map(len, wanted))
    for broadcast in broadcasts:
        length = len(encode(broadcast.to_wire()))
        if size + length > PART_SIZE:
            told.append([])
            size = 0
        told[-1].append(broadcast)
        size += length
    return [
        (Replay(more=number < len(told), wanted=wanted if number == 1 else ()), tuple(part))
        for number, part in enumerate(told, start=1)
    ]


def _fill(things: list[Rumour | Summary | str]) -> Iterator[_Part]:
    sizes = [len(encode(thing) if isinstance(thing, str) else thing.encoded) for thing in things]
    first, size = 0, 0
    for number, length in enumerate(sizes):
        if size + length > PART_SIZE:
            yield _sorted(things[first:number])
            first, size = number, 0
        size += length
    yield _sorted(things[first:])


def _sorted(things: list[Rumour | Summary | str]) -> _Part:
    part = _Part()
    places: dict[type, list[Any]] = {Rumour: part.rumours, Summary: part.digest, str: part.wanted}
    for thing in things:
        places[type(thing)].append(thing)
    return part
