"""Shopping carts, with a bug: whoever becomes the owner of a cart fetches it, once, from those who have it.

It looks safe. Each item is on two nodes before `add` returns, so a crash loses nothing. An owner that has no such cart
asks all others before it answers, so a new node starts with what there is.

But to fetch once is not enough. While the news of a new node travels, the old owner still takes items, after the new
one has fetched the cart. A node between the owner and its copy gets new items only, and when the owner dies it has a
cart, so it does not ask. And after a partition both sides have a cart, so neither asks. Each time items that were
acknowledged are gone. `carts.py` is the repair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import trio
from shop import Shop

from swimring import Request, Service
from swimring.errors import CallError

if TYPE_CHECKING:
    from swimring.service import NodeView

app = Service("carts")
_shelves: WeakKeyDictionary[NodeView, dict[str, set[str]]] = WeakKeyDictionary()


@app.on("add", idempotent=True)
async def add(request: Request, item: str) -> int:
    """Put ``item`` into the cart that is the key."""
    name = str(request.key)
    cart = await _fetched(request.node, name)
    cart.add(item)
    await _copy(request.node, name, item)
    return len(cart)


@app.on("items", idempotent=True)
async def items(request: Request) -> list[str]:
    """Everything in the cart that is the key."""
    return sorted(await _fetched(request.node, str(request.key)))


@app.on("take", idempotent=True)
async def take(request: Request, carts: dict[str, list[str]]) -> None:
    """Keep a copy."""
    shelf = _shelf_of(request.node)
    for name, some in carts.items():
        shelf.setdefault(name, set()).update(some)


@app.on("show", idempotent=True)
async def show(request: Request, cart: str) -> list[str]:
    """What this node has of a cart."""
    return sorted(_shelf_of(request.node).get(cart, ()))


async def _fetched(node: NodeView, name: str) -> set[str]:
    shelf = _shelf_of(node)
    if name not in shelf:
        found: set[str] = set()
        with trio.move_on_after(1):
            async with node.query("show", {"cart": name}) as answers:
                async for answer in answers:
                    found.update(answer.value or ())
        shelf.setdefault(name, set()).update(found)
    return shelf[name]


async def _copy(node: NodeView, name: str, item: str) -> None:
    """Return when another node has it, too: the next on the ring that answers."""
    for member in node.replicas(name, len(node.members)):
        with trio.move_on_after(1):
            try:
                await node.peer(member.name).call(take, None, {name: [item]})
            except CallError:
                continue
            return
    raise RuntimeError(f"no other node took a copy of {item}")


def _shelf_of(node: NodeView) -> dict[str, set[str]]:
    """What a node has. The nodes of a simulation share this module: what is in memory belongs to one of them."""
    return _shelves.setdefault(node, {})


shop = Shop(service=app, add=add, items=items)
