"""Who claims a name that is taken: told at once, then once a minute with the number of claims."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .events import NameConflicted

if TYPE_CHECKING:
    from swimring.identity import Address

    from .member import Member

TOLD_EVERY: Final = 60.0
_ADDRESSES: Final = 4
_NAMES: Final = 256


@dataclass(slots=True)
class _Claims:
    """What was told about one name: when, for each address; and how many claims were not since."""

    told: dict[Address, float] = field(default_factory=dict)
    kept_back: int = 0


class Conflicts:
    """Claims of at most 4 addresses a name and minute are told, of the 256 names that were claimed last."""

    def __init__(self) -> None:
        """No claims yet."""
        self._claims: OrderedDict[str, _Claims] = OrderedDict()

    def between(self, kept: Member, other: Member, *, now: float) -> tuple[NameConflicted, ...]:
        """The event that ``other`` claims the name of ``kept`` from another address, if that is to be told now."""
        if kept.address == other.address:
            return ()
        claims = self._claims.setdefault(kept.name, _Claims())
        self._claims.move_to_end(kept.name)
        if len(self._claims) > _NAMES:
            self._claims.popitem(last=False)
        claims.told = {address: told for address, told in claims.told.items() if now - told < TOLD_EVERY}
        if other.address in claims.told or len(claims.told) >= _ADDRESSES:
            claims.kept_back += 1
            return ()
        repeated, claims.kept_back = claims.kept_back, 0
        claims.told[other.address] = now
        return (NameConflicted(member=kept, other=other.address, repeated=repeated),)
