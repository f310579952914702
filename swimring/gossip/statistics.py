"""Numbers for people and monitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.swim import Suspicion


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipStatistics:
    """How the membership is doing, at one moment.

    Attributes:
        alive: members believed alive, this node included.
        suspect: members that are being suspected.
        dead: members remembered as dead.
        left: members remembered as gone.
        suspicions: those under way; their times are by Trio's clock.
        health: the local health score; 0 is good.
        incarnation: how often this node has spoken up or changed its metadata, from 1.
        rumours: rumours still being spread.
        broadcasts: broadcasts still being passed on.
        broadcasts_ignored: those that were too old, or nonsense, and those that found the queue full.
        probes: probe rounds so far.
        probes_failed: those in which nobody reached the member.
        exchanges: exchanges of states so far, dialled or answered.
        records_heard: records that others showed in them.
        datagrams_sent: datagrams handed to the network.
        datagrams_received: datagrams that arrived, refused ones included.
        bytes_sent: bytes of the datagrams sent.
        bytes_received: bytes of the datagrams received.
        packets: datagrams by direction and by what they say: ``("in", "Ping")``, ``("in", "refused")``.
        misdirected: pings for another name or generation; they are not answered.
        refused: bytes that made no sense, as ``port:reason`` -> count.
    """

    alive: int
    suspect: int
    dead: int
    left: int
    suspicions: tuple[Suspicion, ...]
    health: int
    incarnation: int
    rumours: int
    broadcasts: int
    broadcasts_ignored: int
    probes: int
    probes_failed: int
    exchanges: int
    records_heard: int
    datagrams_sent: int
    datagrams_received: int
    bytes_sent: int
    bytes_received: int
    packets: Mapping[tuple[str, str], int]
    misdirected: int
    refused: Mapping[str, int]
