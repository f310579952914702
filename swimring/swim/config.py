"""How fast, how patient, how talkative: one preset for each kind of network.

All durations are seconds. The numbers are those of hashicorp/memberlist for the same kind of network; where they
differ, the field says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from swimring.errors import ConfigError

DATAGRAM_BUDGET: Final = 1400  # fits an Ethernet frame with room for IPv6, UDP and a tunnel


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The constants of the membership protocol; start from `Profile.local`, `lan` or `wan` and `dataclasses.replace`.

    Attributes:
        name: what this preset is called in logs.
        probe_interval: time between two probe rounds of one node, and the length of a round.
        probe_timeout: how long a direct ping may stay unanswered before relays are asked; the upper bound of the
            adaptive ping timeout.
        shortest_probe_timeout: the lower bound of the adaptive ping timeout.
        indirect_probes: how many relays are asked.
        gossip_interval: time between two rounds of the spreader while there is something to spread.
        gossip_fanout: how many members hear from each round.
        gossip_to_dead: how long a dead member still hears gossip, so that one that lives can refute.
        retransmit_multiplier: a rumour is sent multiplier * ceil(log10(n + 1)) times by each node. The local
            preset has 4 where memberlist has 2: with 2, joins of more than ten nodes lose updates.
        suspicion_alpha: the shortest suspicion is alpha * max(1, log10 n) * probe_interval.
        suspicion_beta: the longest is beta times the shortest.
        suspicion_confirmations: after this many independent confirmations a suspicion is at its shortest.
        health_limit: the local health score goes from 0 (good) to this; intervals and timeouts are multiplied
            by it + 1.
        push_pull_interval: time between two full-state exchanges with a random member, up to 32 members.
        heal_interval: time between two attempts to reach dead members and seeds.
        stream_patience: how long one full-state exchange may take.
        leave_propagate: how long a leaving node keeps answering while its farewell spreads.
        tombstone_retention: how long dead and left members are remembered; in the second half they are not passed on.
        refusals_to_confirm: how many other members must be refused, too, before a refused connection is a death.
        datagram_budget: the most bytes in one datagram.
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
    push_pull_interval: float
    heal_interval: float
    stream_patience: float
    leave_propagate: float
    tombstone_retention: float = 24 * 3600
    refusals_to_confirm: int = 2
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
            if field.type == "int" and value < 0:
                raise ConfigError(f"profile.{field.name}", value, "a count is not negative")
        if self.probe_timeout >= self.probe_interval:
            raise ConfigError("profile.probe_timeout", self.probe_timeout, "it is shorter than probe_interval")
        if not 512 <= self.datagram_budget <= DATAGRAM_BUDGET:
            raise ConfigError("profile.datagram_budget", self.datagram_budget, f"use 512 to {DATAGRAM_BUDGET} bytes")

    @property
    def relay_budget(self) -> float:
        """How long a relay tries before it says so: early enough for its answer to arrive within the round."""
        return 0.8 * min(self.probe_timeout, self.probe_interval - self.probe_timeout)

    def retransmit_limit(self, members: int) -> int:
        """How often a node sends one rumour in a cluster of ``members``; counted as 10 at least.

        A node that joins together with many others knows few of them yet and would stop too early.
        """
        return self.retransmit_multiplier * math.ceil(math.log10(max(members, 10) + 1))

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


PROFILES: Final = {profile.name: profile for profile in (Profile.local(), Profile.lan(), Profile.wan())}
