"""The load of the tests: who buys what, and whether it is there in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shop import Shop

    from swimring import Node


class Buyers:
    """They fill some carts, one after the other."""

    def __init__(self, shop: Shop, *, carts: int = 20) -> None:
        self.shop = shop
        self.carts = carts
        self.found: dict[str, list[str]] = {}

    async def buy(self, node: Node, number: int) -> int:
        return await node.call(self.shop.add, self._cart(number), f"item {number}")

    async def is_there(self, node: Node, number: int, _acknowledged: int) -> bool:
        cart = self._cart(number)
        if cart not in self.found:
            self.found[cart] = await node.call(self.shop.items, cart)
        return f"item {number}" in self.found[cart]

    def _cart(self, number: int) -> str:
        return f"cart {number % self.carts}"
