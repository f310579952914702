"""Key to owner and replicas, by consistent hashing (Karger et al. 1997) on a circle of 2**64 positions.

A node stands at ``points * weight`` positions (rounded down, but at least one), each the SipHash-2-4 of its name and an
index under a key drawn from the cluster's name. A key belongs to the node of the first position strictly after the
key's own, so the positions from one point up to, not including, the next are one range. Where two nodes share a
position the smaller name comes first. Nothing else enters: every process that knows the same names and weights computes
the same ring, in whatever order it learnt of them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from siphash24 import siphash24

from swimring.errors import ConfigError
from swimring.identity import key_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from swimring.identity import Key

CIRCLE: Final = 1 << 64
"""Positions on the circle: 0 to 2**64 - 1."""

DEFAULT_POINTS: Final = 128
"""Points of a node for each unit of weight; docs/concepts/ring.md has the measurements behind the number."""

MAX_WEIGHT: Final = 128
"""The largest weight: a ring is computed from what strangers gossip, so what one of them can ask for is bounded."""

WEIGHT_STEPS: Final = 16
"""A weight is a multiple of one part in so many: equal numbers everywhere, whatever computes them."""

_SEED_BYTES: Final = 16
_MOST_FOUND: Final = 8_192
"""Answers of `HashRing.owners_at` that a ring remembers; at the bound it forgets them all."""
_MASK: Final = CIRCLE - 1


def ring_seed(cluster: str) -> bytes:
    """The 16-byte SipHash key of the rings of ``cluster``: BLAKE2b-128 of its name, personalised ``swimring-ring``."""
    return hashlib.blake2b(cluster.encode(), digest_size=_SEED_BYTES, person=b"swimring-ring").digest()


class HashRing:
    """An immutable assignment of every key to one of a set of weighted nodes.

    Made by `build` and by the methods that return a changed copy; the copies cost one pass over the points, without
    hashing or sorting those that stay.
    """

    __slots__ = ("_found", "_nodes", "_owners", "_per_weight", "_points", "_seed", "_version")

    def __init__(
        self, *, nodes: dict[str, float], seed: bytes, per_weight: int, points: list[int], owners: list[str]
    ) -> None:
        """Not for callers: the parts have to fit one another. Use `build`."""
        self._nodes = dict(sorted(nodes.items()))
        self._seed = seed
        self._per_weight = per_weight
        self._points = points
        self._owners = owners
        self._version = _version(self._nodes, per_weight)
        self._found: dict[int, tuple[str, ...]] = {}  # what `owners_at` has found, by point and number of nodes

    @classmethod
    def build(cls, nodes: Mapping[str, float], *, seed: bytes, points: int = DEFAULT_POINTS) -> HashRing:
        """The ring of ``nodes``, a weight for each name; weight 0 stays out of the ring.

        Args:
            nodes: name to weight, 0 to `MAX_WEIGHT`, in steps of a sixteenth.
            seed: 16 bytes, the same on all nodes of a cluster: `ring_seed`.
            points: points for each unit of weight, the same on all nodes of a cluster.

        Raises:
            ConfigError: a weight, the seed or the number of points is out of bounds.
        """
        if len(seed) != _SEED_BYTES:
            raise ConfigError("ring seed", f"{len(seed)} bytes", f"a seed has {_SEED_BYTES} bytes")
        if points < 1:
            raise ConfigError("points", points, "a node needs at least one point for each unit of weight")
        weights = {name: _checked_weight(name, weight) for name, weight in nodes.items() if weight != 0}
        marks = sorted(
            (point, name)
            for name, weight in weights.items()
            for point in _points_of(name, _count(weight, points), seed)
        )
        return cls(
            nodes=weights,
            seed=seed,
            per_weight=points,
            points=[point for point, _ in marks],
            owners=[name for _, name in marks],
        )

    @property
    def version(self) -> str:
        """16 hexadecimal digits that are equal for rings of the same names, weights and points per weight."""
        return self._version

    @property
    def nodes(self) -> Mapping[str, float]:
        """The weight of each node in the ring, in the order of their names."""
        return MappingProxyType(self._nodes)

    @property
    def points(self) -> int:
        """How many points all its nodes have together."""
        return len(self._points)

    @property
    def bounds(self) -> Sequence[int]:
        """The positions of all points, in order, not to be changed: nothing differs between two of them."""
        return self._points

    @property
    def seed(self) -> bytes:
        """The SipHash key that positions are computed with."""
        return self._seed

    def position(self, key: Key) -> int:
        """Where ``key`` is on the circle.

        Raises:
            ConfigError: this cannot be a key.
        """
        return _position(key_bytes(key), self._seed)

    def lookup(self, key: Key) -> str | None:
        """The owner of ``key``, or None if the ring is empty.

        Raises:
            ConfigError: this cannot be a key.
        """
        points = self._points  # `owner_at` of `position`, which every call of a service asks for
        if not points:
            key_bytes(key)
            return None
        position = siphash24(key_bytes(key), key=self._seed).intdigest() & _MASK  # as `_position`
        return self._owners[bisect_right(points, position) % len(points)]

    def owner_at(self, position: int) -> str | None:
        """The owner of one position of the circle, or None if the ring is empty."""
        if not self._points:
            return None
        return self._owners[bisect_right(self._points, position) % len(self._points)]

    def owners(self, key: Key, n: int) -> tuple[str, ...]:
        """The owner of ``key`` and the distinct nodes that follow it on the circle: ``n`` in all, fewer if there are.

        The second is the owner once the first has left the ring, and so on.

        Raises:
            ConfigError: this cannot be a key, or ``n`` is negative.
        """
        return self.owners_at(self.position(key), n)

    def owners_at(self, position: int, n: int) -> tuple[str, ...]:
        """As `owners`, of one position of the circle.

        Raises:
            ConfigError: ``n`` is negative.
        """
        if n < 0:
            raise ConfigError("owners", n, "ask for zero or more")
        wanted = min(n, len(self._nodes))
        if not wanted:
            return ()
        at = bisect_right(self._points, position) % len(self._points)
        asked = at * (len(self._nodes) + 1) + wanted
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            found = self._found[asked] = self._from(at, wanted)
        return found

    def replicas(self, key: Key, n: int) -> tuple[str, ...]:
        """The ``n`` distinct nodes after the owner of ``key``, nearest first; fewer if there are not so many.

        Raises:
            ConfigError: this cannot be a key, or ``n`` is negative.
        """
        if n < 0:
            raise ConfigError("replicas", n, "ask for zero or more")
        return self.owners(key, n + 1)[1:]

    def with_node(self, name: str, weight: float = 1) -> HashRing:
        """This ring with ``name`` in it at ``weight``, whether or not it was before; weight 0 takes it out.

        Raises:
            ConfigError: the weight is out of bounds.
        """
        return self.with_nodes({**self._nodes, name: weight})

    def without_node(self, name: str) -> HashRing:
        """This ring without ``name``; itself if it is not there."""
        return self.with_nodes({other: weight for other, weight in self._nodes.items() if other != name})

    def with_nodes(self, nodes: Mapping[str, float]) -> HashRing:
        """The ring of exactly ``nodes``, as `build` makes it, computed from the difference; itself if there is none.

        Raises:
            ConfigError: a weight is out of bounds.
        """
        weights = {name: _checked_weight(name, weight) for name, weight in nodes.items() if weight != 0}
        if weights == self._nodes:
            return self
        leaving = {name: weight for name, weight in self._nodes.items() if weights.get(name) != weight}
        joining = {name: weight for name, weight in weights.items() if self._nodes.get(name) != weight}
        points, owners = self._points, self._owners
        for name, weight in leaving.items():
            points, owners = _take_out(points, owners, name, self._sorted_points(name, weight))
        for name, weight in joining.items():
            points, owners = _put_in(points, owners, name, self._sorted_points(name, weight))
        return HashRing(nodes=weights, seed=self._seed, per_weight=self._per_weight, points=points, owners=owners)

    def share(self) -> dict[str, float]:
        """The fraction of the circle that each node owns, in the order of their names; the sum is 1."""
        lengths = dict.fromkeys(self._nodes, 0)
        for start, end, owner in self.ranges():
            lengths[owner] += end - start
        return {name: length / CIRCLE for name, length in lengths.items()}

    def ranges(self) -> Iterator[tuple[int, int, str]]:
        """Half-open ranges ``start, end, owner`` that cover the circle from 0 to 2**64 in order; none if it is empty.

        One for each point that owns anything; the range over the top of the circle comes as two, split at 0.
        """
        start = 0
        for point, owner in zip(self._points, self._owners, strict=True):
            if point > start:
                yield start, point, owner
                start = point
        if self._points:
            yield start, CIRCLE, self._owners[0]

    def spans(self, n: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """What `owners` says of every position: ``end, owners`` of ranges that cover the circle from 0 to 2**64."""
        points, following = self._points, self._followers(n)
        start = 0
        for point, owners in zip(points, following, strict=True):
            if point > start:
                yield point, owners
                start = point
        yield CIRCLE, following[0] if following else ()

    def _followers(self, n: int) -> list[tuple[str, ...]]:
        """For each point, the first ``n`` distinct nodes from it on; from the last point back to the first."""
        wanted = min(n, len(self._nodes))
        following: list[tuple[str, ...]] = [()] * len(self._owners)
        if not wanted:
            return following
        ahead: tuple[str, ...] = ()
        for name in self._owners:
            if name not in ahead:
                ahead += (name,)
            if len(ahead) == wanted:
                break
        for at in range(len(self._owners) - 1, -1, -1):
            owner = self._owners[at]
            if ahead[0] != owner:
                ahead = (owner, *[name for name in ahead if name != owner])[:wanted]
            following[at] = ahead
        return following

    def _sorted_points(self, name: str, weight: float) -> list[int]:
        return sorted(_points_of(name, _count(weight, self._per_weight), self._seed))

    def _from(self, start: int, wanted: int) -> tuple[str, ...]:
        """The first ``wanted`` distinct nodes from one point on; there are as many."""
        found: dict[str, None] = {}
        at, count = start, len(self._points)
        while len(found) < wanted:
            found[self._owners[at]] = None
            at = (at + 1) % count
        return tuple(found)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HashRing):
            return NotImplemented
        return (self._seed, self._per_weight, self._nodes) == (other._seed, other._per_weight, other._nodes)

    def __hash__(self) -> int:
        return hash((self._seed, self._version))

    def __repr__(self) -> str:
        return f"<HashRing {self._version}: {len(self._nodes)} nodes, {len(self._points)} points>"


def _position(raw: bytes, seed: bytes) -> int:
    # intdigest is signed: the mask makes it the unsigned number that the paper's test vectors give.
    return int(siphash24(raw, key=seed).intdigest()) & _MASK


def _points_of(name: str, count: int, seed: bytes) -> Iterable[int]:
    # The index has a fixed width, so no name and index run together into those of another node.
    raw = name.encode()
    return (_position(raw + index.to_bytes(4, "little"), seed) for index in range(count))


def _checked_weight(name: str, weight: float) -> float:
    if not 0 < weight <= MAX_WEIGHT:
        raise ConfigError(f"weight of {name}", weight, f"a weight is a number from 0 to {MAX_WEIGHT}")
    if weight * WEIGHT_STEPS != int(weight * WEIGHT_STEPS):
        raise ConfigError(f"weight of {name}", weight, f"a weight is a multiple of 1/{WEIGHT_STEPS}")
    return int(weight) if weight == int(weight) else weight


def _count(weight: float, per_weight: int) -> int:
    return max(1, int(weight * per_weight))


def _version(nodes: Mapping[str, float], per_weight: int) -> str:
    told = hashlib.blake2b(str(per_weight).encode(), digest_size=8, person=b"swimring-version")
    for name, weight in nodes.items():
        raw = name.encode()
        whole = int(weight)
        told.update(len(raw).to_bytes(4, "little") + raw + whole.to_bytes(4, "little"))
        if weight != whole:  # as many bytes as it takes no length can be read as
            told.update(b"\xff\xff\xff\xff" + int(weight * WEIGHT_STEPS).to_bytes(4, "little"))
    return told.hexdigest()


def _put_in(points: list[int], owners: list[str], name: str, new: Sequence[int]) -> tuple[list[int], list[str]]:
    merged_points: list[int] = []
    merged_owners: list[str] = []
    done = 0
    for point in new:
        at = bisect_left(points, point, done)
        while at < len(points) and points[at] == point and owners[at] < name:
            at += 1
        merged_points += points[done:at]
        merged_owners += owners[done:at]
        merged_points.append(point)
        merged_owners.append(name)
        done = at
    return merged_points + points[done:], merged_owners + owners[done:]


def _take_out(points: list[int], owners: list[str], name: str, old: Sequence[int]) -> tuple[list[int], list[str]]:
    kept_points: list[int] = []
    kept_owners: list[str] = []
    done = 0
    for point in old:
        at = bisect_left(points, point, done)
        while owners[at] != name:
            at += 1
        kept_points += points[done:at]
        kept_owners += owners[done:at]
        done = at + 1
    return kept_points + points[done:], kept_owners + owners[done:]
