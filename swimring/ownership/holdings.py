"""The copies of states that this node keeps, and below which fence it takes none: the memory behind ownership.

A copy is replaced only by a greater one: fences first, then the sequence of checkpoints under one fence. What was
promised to a later owner is refused to an earlier one, also when it comes later.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from swimring.errors import RemoteProtocolError
from swimring.identity import MAX_KEY_BYTES, MAX_NAME_CHARACTERS, Fence, key_bytes

from .fences import MAX_FENCE, NO_FENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swimring.identity import Key
    from swimring.ring import HashRing

MAX_STATE_BYTES: Final = 512 * 1024
"""The largest state of one key, encoded."""
DEFAULT_CAPACITY: Final = 256 * 1024 * 1024
MAX_PROMISES: Final = 65_536
MAX_REPLICAS: Final = 16
_PER_COPY: Final = 256  # what a copy costs besides its bytes

Version: TypeAlias = tuple[Fence, int]
"""What copies of one key are ordered by."""

Place: TypeAlias = tuple[str, bytes]
"""A key of a service, the key as bytes: text and its UTF-8 bytes are one key."""


def place_of(service: str, key: Key) -> Place:
    """Where the state of ``key`` is kept.

    Raises:
        ConfigError: this cannot be a key.
    """
    return service, key_bytes(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The state of one key as it was at one checkpoint."""

    place: Place
    fence: Fence
    """Of the scope that made it."""
    sequence: int
    """Counts the checkpoints of that scope from 1; 0 is what it began with."""
    replicas: int
    """How many nodes should have it besides the owner."""
    state: bytes
    """Encoded."""

    @property
    def version(self) -> Version:
        """Greater for what came later."""
        return self.fence, self.sequence

    @property
    def cost(self) -> int:
        """Bytes that it takes here."""
        return len(self.state) + len(self.place[1]) + _PER_COPY

    def to_wire(self) -> list[Any]:
        """As other nodes read it."""
        service, key = self.place
        return [service, key, self.fence.number, self.fence.owner, self.sequence, self.replicas, self.state]


def read_place(service: str, key: bytes) -> Place:
    """A place that another node named.

    Raises:
        RemoteProtocolError: no service or no key is called that: it is too long.
    """
    if len(service) > MAX_NAME_CHARACTERS or len(key) > MAX_KEY_BYTES:
        raise RemoteProtocolError("a key of a service is out of bounds")
    return service, key


def read_copy(record: object) -> Copy:
    """The copy that another node sent.

    Raises:
        RemoteProtocolError: it is none.
    """
    match record:
        case [str(service), bytes(key), number, owner, sequence, replicas, bytes(state), *_] if type(replicas) is int:
            fence, sequence = read_version(number, owner, sequence)
        case _:
            raise RemoteProtocolError("malformed copy of a state")
    if len(state) > MAX_STATE_BYTES or not 0 <= replicas <= MAX_REPLICAS:
        raise RemoteProtocolError("a copy of a state is out of bounds")
    return Copy(place=read_place(service, key), fence=fence, sequence=sequence, replicas=replicas, state=state)


def read_version(number: object, owner: object, sequence: object) -> Version:
    """A version that another node sent.

    Raises:
        RemoteProtocolError: it is none.
    """
    match number, owner, sequence:
        case (int(), str(), int()) if bool not in {type(number), type(sequence)}:
            if 0 < number <= MAX_FENCE and 0 <= sequence <= MAX_FENCE and 0 < len(owner) <= 128:
                return Fence(number, owner), sequence
    raise RemoteProtocolError("malformed version of a state")


class Verdict(enum.IntEnum):
    """What became of a copy that was offered to a node; the values are those of the wire."""

    HELD = 0
    FENCED = 1
    FULL = 2


class Holdings:
    """One copy and one promise for each key of each service.

    At most ``capacity`` bytes of copies are kept: at the bound `put` says `Verdict.FULL`, unless it replaces one that
    is not smaller. At most 65,536 promises without a copy: then the oldest is forgotten.
    """

    def __init__(self, *, capacity: int = DEFAULT_CAPACITY, on_first: Callable[[], object] = lambda: None) -> None:
        """Start with nothing; ``on_first`` is called when a copy is put where there was none."""
        self._on_first = on_first
        self._capacity = capacity
        self._copies: dict[Place, Copy] = {}
        self._positions: dict[Place, int] = {}
        self._promises: OrderedDict[Place, Fence] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._copies)

    def __iter__(self) -> Iterator[Copy]:
        return iter(list(self._copies.values()))

    @property
    def size(self) -> int:
        """Bytes of all copies."""
        return self._size

    def get(self, place: Place) -> Copy | None:
        """The copy of that key."""
        return self._copies.get(place)

    def position(self, place: Place, ring: HashRing) -> int:
        """Where the key is on ``ring``, and on all others of the cluster; of what is held here, hashed only once."""
        position = self._positions.get(place)
        if position is None:
            position = ring.position(place[1])
            if place in self._copies:
                self._positions[place] = position
        return position

    def promised(self, place: Place) -> Fence:
        """The greatest fence that is known of that key, of a copy or of a promise."""
        copy = self._copies.get(place)
        return max(self._promises.get(place, NO_FENCE), NO_FENCE if copy is None else copy.fence)

    def promise(self, place: Place, fence: Fence) -> bool:
        """Take no copy with a lesser fence from now on; False if a greater or equal one is known already."""
        if fence <= self.promised(place):
            return False
        self._promises.pop(place, None)
        self._promises[place] = fence
        if len(self._promises) > MAX_PROMISES:
            self._promises.popitem(last=False)  # at once; a plain dict looks for its first item past all that are gone
        return True

    def put(self, copy: Copy) -> Verdict:
        """Keep ``copy`` if it is newer than what is held and nothing later was promised."""
        if copy.fence < self.promised(copy.place):
            return Verdict.FENCED
        held = self._copies.get(copy.place)
        if held is not None and held.version >= copy.version:
            return Verdict.HELD
        growth = copy.cost - (0 if held is None else held.cost)
        if growth > 0 and self._size + growth > self._capacity:
            return Verdict.FULL
        if not self._copies:
            self._on_first()
        self._copies[copy.place] = copy
        self._promises.pop(copy.place, None)
        self._size += growth
        return Verdict.HELD

    def drop(self, place: Place) -> None:
        """Forget the copy; what was promised stays promised."""
        copy = self._copies.pop(place, None)
        self._positions.pop(place, None)
        if copy is not None:
            self._size -= copy.cost
            self.promise(place, copy.fence)
