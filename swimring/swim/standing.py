"""How much of its keys a member takes at the moment, as it tells itself: all, a part while it settles in, or none.

Everybody computes the rings from it, so it is part of what a member gossips, and nobody else decides it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from swimring.errors import ConfigError

FULL_SHARE: Final = 16
"""The share of a member that takes all the keys its weight stands for; others are sixteenths of them."""
MAX_HOLD: Final = 65_535
"""The longest time, in seconds, for which a place can be kept."""


class Phase(enum.IntEnum):
    """Whether a member takes keys. Any other number, of a later version, takes none."""

    SERVING = 0
    """It does."""
    CORDONED = 1
    """Somebody has told it to take none; it stays."""
    DRAINING = 2
    """It hands its keys to others, and will leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a member says about the keys it takes.

    Attributes:
        phase: `Phase` as a number; one that is not known takes no keys.
        share: how many sixteenths of the keys its weight stands for it takes.
        hold: seconds for which its place is kept once it is gone, because it comes back.
        stateful: whether it holds state that has to move when its keys do.
        bringing: whether copies of it have been due at other members for a while, which may be copies that no ring that
            anybody remembers would have it hold.

    Raises:
        ConfigError: a value is out of bounds.
    """

    phase: int = Phase.SERVING
    share: int = FULL_SHARE
    hold: int = 0
    stateful: bool = False
    bringing: bool = False

    def __post_init__(self) -> None:
        _check("phase", self.phase, most=255)
        _check("share", self.share, most=FULL_SHARE)
        _check("hold", self.hold, most=MAX_HOLD)
        for what in ("stateful", "bringing"):
            if not isinstance(getattr(self, what), bool):
                raise ConfigError(what, getattr(self, what), "true or false")

    def weight(self, full: int) -> float:
        """The weight on the rings of a member whose weight is ``full``: a multiple of 1/16; whole if it takes all."""
        if self.phase != Phase.SERVING or not full:
            return 0
        return full if self.share == FULL_SHARE else full * self.share / FULL_SHARE

    def to_wire(self) -> list[object]:
        """The form in metadata: an array that grows at the end."""
        wire: list[object] = [int(self.phase), self.share, self.hold, self.stateful]
        return [*wire, True] if self.bringing else wire


def _check(what: str, found: object, *, most: int) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= most:
        raise ConfigError(what, found, f"a whole number from 0 to {most}")


ORDINARY: Final = Standing()
"""Takes all, holds nothing: what a member is that says nothing about it."""
