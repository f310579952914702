"""What the two shops have in common, so that the same tests run on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swimring import Service
    from swimring.service import Endpoint
    from swimring.testing import Beside


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A service that keeps shopping carts.

    Attributes:
        service: what the nodes answer.
        add: puts an item into the cart that is the key; returns how many items are in it.
        items: everything in the cart that is the key.
        beside: what runs beside each node.
    """

    service: Service
    add: Endpoint[[str], int]
    items: Endpoint[[], list[str]]
    beside: Beside | None = None
