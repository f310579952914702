"""What the papers and the models say the times ought to be."""

from __future__ import annotations

import math

from swimring.swim import PROFILES


def first_detection(members: int) -> float:
    """Mean seconds until somebody suspects a dead member, in periods, for asynchronous rounds.

    The first of n - 1 arrivals that are uniform over n - 1 periods, and the round that fails.
    """
    return 1 + (members - 1) / members


def declared_dead(profile: str, members: int) -> float:
    """Mean seconds until the first member declares a dead one dead, if the suspicion is confirmed in time."""
    constants = PROFILES[profile]
    suspicion = constants.suspicion_alpha * max(1.0, math.log10(members))
    return (first_detection(members) + suspicion) * constants.probe_interval
