"""A fault is a value: a rule that gives each packet a verdict, in force until the end of a `with` block.

Packets within one host are never judged: its loopback works whatever happens outside.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from swimring.errors import ConfigError

if TYPE_CHECKING:
    import random

Hosts: TypeAlias = str | Iterable[str]
"""One host, or several."""


class PacketKind(enum.Enum):
    """What is on its way."""

    DATAGRAM = "datagram"
    HANDSHAKE = "handshake"
    SEGMENT = "segment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long packets travel, in seconds: uniform from ``low`` to ``high``, and an exponential tail of that mean."""

    low: float
    high: float
    tail: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high or self.tail < 0:
            raise ConfigError("latency", (self.low, self.high, self.tail), "0 <= low <= high and tail >= 0, in seconds")

    def draw(self, rng: random.Random) -> float:
        """The journey of one packet."""
        journey = rng.uniform(self.low, self.high)
        return journey + rng.expovariate(1 / self.tail) if self.tail else journey


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What a fault gets to see."""

    source: str
    target: str
    kind: PacketKind
    connection: int = 0
    """The number of the connection that a segment belongs to; they count up from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a packet.

    Attributes:
        cut: nothing passes: a datagram is lost, a handshake or a segment waits until the fault is lifted.
        refused: a handshake is answered with a refusal; datagrams and segments are untouched.
        loss: the chance that a datagram is lost, or that a handshake or segment needs another transmission.
        duplicate: the chance that a datagram arrives twice.
        latency: replaces the usual latency.
        detour: the chance that a datagram takes up to 50 ms more, so that later ones overtake it.
        corruption: the chance that a bit of a datagram flips; a segment is sent again, since checksums catch it.
        bandwidth: bytes per second of each direction; datagrams that would wait for over 1 s are lost.
    """

    cut: bool = False
    refused: bool = False
    loss: float = 0.0
    duplicate: float = 0.0
    latency: Latency | None = None
    detour: float = 0.0
    corruption: float = 0.0
    bandwidth: float = math.inf

    def and_also(self, other: Verdict) -> Verdict:
        """Both at once: chances are independent, the later latency and the smaller bandwidth win."""
        if self is PASS:
            return other
        return Verdict(
            cut=self.cut or other.cut,
            refused=self.refused or other.refused,
            loss=_either(self.loss, other.loss),
            duplicate=_either(self.duplicate, other.duplicate),
            latency=other.latency or self.latency,
            detour=_either(self.detour, other.detour),
            corruption=_either(self.corruption, other.corruption),
            bandwidth=min(self.bandwidth, other.bandwidth),
        )


def _either(one: float, other: float) -> float:
    return 1 - (1 - one) * (1 - other)


PASS = Verdict()


class Fault(Protocol):
    """Anything that judges packets: the ones below, or yours."""

    def judge(self, packet: Packet) -> Verdict:
        """The verdict on one packet; `PASS` if it is none of this fault's business. Pure: same packet, same verdict."""
        ...


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing passes from ``sources`` to ``targets``; the other way is untouched."""

    sources: frozenset[str]
    targets: frozenset[str]

    def judge(self, packet: Packet) -> Verdict:
        """Cut what goes from one side to the other."""
        return Verdict(cut=True) if packet.source in self.sources and packet.target in self.targets else PASS


@dataclass(frozen=True, slots=True)
class Isolation:
    """Nothing passes between ``hosts`` and everybody else; they still reach each other."""

    hosts: frozenset[str]

    def judge(self, packet: Packet) -> Verdict:
        """Cut what crosses the border."""
        return Verdict(cut=True) if (packet.source in self.hosts) != (packet.target in self.hosts) else PASS


@dataclass(frozen=True, slots=True)
class Refusal:
    """``hosts`` refuse every new connection, as a firewall that rejects would."""

    hosts: frozenset[str]

    def judge(self, packet: Packet) -> Verdict:
        """Refuse handshakes."""
        return Verdict(refused=True) if packet.target in self.hosts else PASS


@dataclass(frozen=True, slots=True)
class Stale:
    """Connections between ``one`` and ``other`` up to number ``last`` carry nothing any more; nobody is told."""

    one: frozenset[str]
    other: frozenset[str]
    last: int

    def judge(self, packet: Packet) -> Verdict:
        """Cut the segments of old connections."""
        if packet.kind is not PacketKind.SEGMENT or packet.connection > self.last:
            return PASS
        ends = (packet.source, packet.target)
        between = any(a in self.one and b in self.other for a, b in (ends, ends[::-1]))
        return Verdict(cut=True) if between else PASS


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Packets that start or end at ``hosts`` (None: all packets) get one and the same verdict."""

    verdict: Verdict
    hosts: frozenset[str] | None = None

    def judge(self, packet: Packet) -> Verdict:
        """The verdict, for those concerned."""
        concerned = self.hosts is None or packet.source in self.hosts or packet.target in self.hosts
        return self.verdict if concerned else PASS


def host_set(hosts: Hosts) -> frozenset[str]:
    """One host or several as a set."""
    return frozenset({hosts} if isinstance(hosts, str) else hosts)


def chance(value: float, setting: str) -> float:
    """``value`` if it is a probability.

    Raises:
        ConfigError: it is not.
    """
    if not 0 <= value <= 1:
        raise ConfigError(setting, value, "a chance is a number from 0 to 1")
    return value
