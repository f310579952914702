"""How fast, how patient, how talkative: one preset for each kind of network.

All durations are seconds. The numbers are those of hashicorp/memberlist for the same kind of network; where they
differ, the field says why.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields
from typing import Final

from swimring.errors import ConfigError

DATAGRAM_BUDGET: Final = 1400  # fits an Ethernet frame with room for IPv6, UDP and a tunnel
_ENVELOPE_OF_A_BROADCAST: Final = 530  # with three names of 128 characters, all numbers at their largest, and a seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The constants of the membership protocol; start from `Profile.local`, `lan` or `wan` and `dataclasses.replace`.

    Members of one cluster should have the same profile: the impatient accuse the patient.

    Attributes:
        name: what this preset is called in logs.
        probe_interval: time between two probe rounds of one node, and the length of a round. Too high: deaths are
            noticed late, and suspicions, which are multiples of it, last longer. Too low: a round ends before relays
            have answered, and healthy members are suspected; the number of packets grows in proportion.
        probe_timeout: how long a direct ping may stay unanswered before relays are asked; the upper bound of the
            adaptive ping timeout. Too high: no time is left in the round for relays. Too low (less than three round
            trips): relays are asked all the time.
        shortest_probe_timeout: the lower bound of the adaptive ping timeout. Too high: it is not adaptive. Too low: a
            pause of the garbage collector is taken for a lost datagram, and relays are asked.
        indirect_probes: how many relays are asked. Too high: a ping that is lost costs four datagrams more for each.
            Too low: what is lost between two members looks like a death, and with 0 so does a firewall between them
            that lets no connection through.
        gossip_interval: time between two rounds of the spreader while there is something to spread. Too high: news
            takes log n times as long. Too low: news goes out in many small packets, before there is more to say.
        gossip_fanout: how many members hear from each round. Too high: most hear what they know. Too low: with 1 a
            loss is made up for a round later, and the slowest members hear news seconds late.
        gossip_to_dead: how long a dead member still hears gossip, so that one that lives can refute. Too high: packets
            go to machines that are gone. Too low: who was cut off for a moment comes back as late as by healing.
        retransmit_multiplier: a rumour is sent multiplier * ceil(log10(n + 1)) times by each node. The local
            preset has 4 where memberlist has 2: with 2, joins of more than ten nodes lose updates. Too high: packets
            are full of what everybody knows. Too low: some members miss news until the next full state.
        suspicion_alpha: the shortest suspicion is alpha * max(1, log10 n) * probe_interval. Too high: a lost machine
            keeps its keys for longer. Too low: members that are slow for a moment are declared dead, and their keys
            move forth and back.
        suspicion_beta: the longest is beta times the shortest. Too high: in a small cluster, where nobody is there to
            confirm, deaths take that much longer. Too low: a node that is slow itself, and the only one to accuse, is
            believed too soon.
        suspicion_confirmations: after this many independent confirmations a suspicion is at its shortest. Too high: it
            never gets there. Too low: two slow nodes are enough to kill a third.
        health_limit: the local health score goes from 0 (good) to this; intervals and timeouts are multiplied
            by it + 1. Too high: a node that was ill notices deaths late for minutes. Too low: one that is overloaded
            goes on accusing others; with 0 it does not doubt itself at all.
        lag_tolerance: how late our own timers may be, in parts of probe_timeout, before we take it that we stood still:
            such a probe round accuses nobody, and such a suspicion goes on for another probe_interval, so that answers
            that wait in our socket are read first. Too high: a process that was stopped accuses those that answered
            meanwhile. Too low: a busy one never notices a death by itself.
        push_pull_interval: time between two full-state exchanges with a random member, up to 32 members. Too high:
            whoever missed a rumour is wrong for so long. Too low: the traffic is full states, n records each.
        heal_interval: time between two attempts to reach dead members and seeds; also the longest pause between the
            attempts of a node that is alone, which is at most 5 s. Too high: a partition heals so much later. Too low:
            connections to machines that are gone, and look-ups of names, without end.
        stream_patience: how long one full-state exchange may take. Too high: an address that swallows packets keeps a
            place among the 16 that are tried at once. Too low: large clusters, or slow lines, cannot join.
        leave_propagate: how long a leaving node keeps answering while its farewell spreads. Too high: stopping takes
            longer. Too low: some members take the farewell for a death, which they have to find out first.
        tombstone_retention: how long dead and left members are remembered; in the second half they are not passed on.
            Too high: lists of members that will never come back. Too low: a member that was cut off for longer brings
            those that left meanwhile back to life, until they are found dead.
        refusals_to_confirm: how many other members must be refused, too, before a refused connection is a death. Too
            high: more datagrams, and no death is known at once while one of them is slow. Too low: with 0 a firewall
            that refuses one member's connections kills the member behind it. None: a refusal proves nothing, every
            death costs a suspicion; for networks whose proxies refuse for members that live.
        broadcast_limit: the most bytes of one broadcast of an application, name and payload encoded; more than 870 do
            not fit a datagram and are refused in any case. Too high: one of them takes most of a datagram, and rumours
            wait. Too low: applications have to say where to find what they mean.
        datagram_budget: the most bytes in one datagram. Too high: not allowed, what is fragmented is lost more often.
            Too low: news takes more packets.
    """

    name: str
    probe_interval: float
    probe_timeout: float
    shortest_probe_timeout: float = 0.02
    indirect_probes: int
    gossip_interval: float
    gossip_fanout: int
    gossip_to_dead: float
    retransmit_multiplier: int = 4
    suspicion_alpha: float
    suspicion_beta: float = 6
    suspicion_confirmations: int
    health_limit: int = 8
    lag_tolerance: float = 0.5
    push_pull_interval: float
    heal_interval: float
    stream_patience: float
    leave_propagate: float
    tombstone_retention: float = 24 * 3600
    refusals_to_confirm: int | None = 2
    broadcast_limit: int = 512
    datagram_budget: int = DATAGRAM_BUDGET

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: a number is not positive, a count is negative, or two of them contradict each other.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and not (0 < value < math.inf):
                raise ConfigError(f"profile.{field.name}", value, "a duration or factor is positive and finite")
            if field.type in ("int", "int | None") and value is not None and value < 0:
                raise ConfigError(f"profile.{field.name}", value, "a count is not negative")
        if self.probe_timeout >= self.probe_interval:
            raise ConfigError("profile.probe_timeout", self.probe_timeout, "it is shorter than probe_interval")
        if not 512 <= self.datagram_budget <= DATAGRAM_BUDGET:
            raise ConfigError("profile.datagram_budget", self.datagram_budget, f"use 512 to {DATAGRAM_BUDGET} bytes")

    @property
    def largest_broadcast(self) -> int:
        """The most bytes of a broadcast, name and payload, that are sure to fit into a datagram, sealed or not."""
        return min(self.broadcast_limit, self.datagram_budget - _ENVELOPE_OF_A_BROADCAST)

    @property
    def longest_lag(self) -> float:
        """Seconds by which our own timers may be late before we trust them no more."""
        return self.lag_tolerance * self.probe_timeout

    @property
    def relay_budget(self) -> float:
        """How long a relay tries before it says so: early enough for its answer to arrive within the round."""
        return 0.8 * min(self.probe_timeout, self.probe_interval - self.probe_timeout)

    def retransmit_limit(self, members: int) -> int:
        """How often a node sends one rumour in a cluster of ``members``; counted as 10 at least.

        A node that joins together with many others knows few of them yet and would stop too early.
        """
        return self.retransmit_multiplier * _digits(members)

    def push_pull_period(self, members: int) -> float:
        """The full-state interval in a cluster of ``members``: longer beyond 32, so that the load of all stays flat."""
        if members <= 32:
            return self.push_pull_interval
        return self.push_pull_interval * (math.ceil(math.log2(members) - 5) + 1)

    @classmethod
    def local(cls) -> Profile:
        """Processes of one machine."""
        return cls(
            name="local",
            probe_interval=1,
            probe_timeout=0.2,
            indirect_probes=1,
            gossip_interval=0.1,
            gossip_fanout=3,
            gossip_to_dead=15,
            suspicion_alpha=3,
            suspicion_confirmations=1,
            push_pull_interval=15,
            heal_interval=3,
            stream_patience=1,
            leave_propagate=0.3,
        )

    @classmethod
    def lan(cls) -> Profile:
        """Machines of one network."""
        return cls(
            name="lan",
            probe_interval=1,
            probe_timeout=0.5,
            indirect_probes=3,
            gossip_interval=0.2,
            gossip_fanout=3,
            gossip_to_dead=30,
            suspicion_alpha=4,
            suspicion_confirmations=2,
            push_pull_interval=30,
            heal_interval=30,
            stream_patience=10,
            leave_propagate=1,
        )

    @classmethod
    def wan(cls) -> Profile:
        """Machines far from each other."""
        return cls(
            name="wan",
            probe_interval=5,
            probe_timeout=3,
            indirect_probes=3,
            gossip_interval=0.5,
            gossip_fanout=4,
            gossip_to_dead=60,
            suspicion_alpha=6,
            suspicion_confirmations=4,
            push_pull_interval=60,
            heal_interval=60,
            stream_patience=30,
            leave_propagate=3,
        )


@functools.lru_cache(maxsize=1024)
def _digits(members: int) -> int:
    return math.ceil(math.log10(max(members, 10) + 1))


PROFILES: Final = {profile.name: profile for profile in (Profile.local(), Profile.lan(), Profile.wan())}
