"""Which keys were open and called here, told to those who own them next: they open them before anybody asks.

It spares the first caller of each key the wait for a claim, and claims of many keys share messages. What is told is a
hint: whoever does not hear it opens the key when it is called.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from swimring.errors import CallError

from .lines import Lines

if TYPE_CHECKING:
    import trio

    from swimring.identity import Key

    from .asking import Asking
    from .holdings import Place
    from .rebalancer import Rebalancer

MAX_INHERITED: Final = 256
"""In one message."""
MAX_QUEUED: Final = 65_536
MAX_BYTES: Final = 256 * 1024
_PER_KEY: Final = 32

Inherited: TypeAlias = "tuple[str, Key]"
"""A service and a key, as text or bytes, as it was called."""


class Heirs:
    """Tells the next owners what they inherit.

    At most 65,536 keys wait for one node; of more nobody is told.
    """

    def __init__(self, asking: Asking, *, rings: Rebalancer, nursery: trio.Nursery) -> None:
        """Ask through ``asking`` whoever ``rings`` name; the tasks belong to ``nursery``."""
        self._asking = asking
        self._rings = rings
        self._lines: Lines[Inherited] = Lines(
            self._send, cost=_cost, most=MAX_INHERITED, most_bytes=MAX_BYTES, nursery=nursery
        )

    def tell(self, place: Place, key: Key) -> None:
        """The key was called here not long ago, and is closed now."""
        owner = self._rings.owner(*place)
        if owner is not None and owner.name != self._asking.me and self._lines.waiting(owner.name) < MAX_QUEUED:
            self._lines.put(owner.name, (place[0], key))

    async def _send(self, name: str, keys: list[Inherited]) -> None:
        fields: dict[str, Any] = {"keys": [list(one) for one in keys]}
        # Its own as well: that it owns them may be what it has not published yet.
        fields["records"] = self._asking.records({self._asking.me, name})
        with contextlib.suppress(CallError):  # these open when they are called
            await self._asking.ask(name, "inherit", fields)


def _cost(one: Inherited) -> int:
    return len(one[1]) * 4 + _PER_KEY
