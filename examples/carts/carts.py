"""Shopping carts that lose nothing they have acknowledged.

An item is with the owner of its cart and with one more node before `add` returns. Whenever nodes come or go, each node
hands what it has to the owner and the next one, who *merge* it with what they have; nothing replaces anything. Who
reads a cart merges what all nodes have of it. So it does not matter who took an item for the owner, or for how long.

What is promised: an item whose `add` has returned is in its cart as long as no two nodes crash within the seconds in
which copies are handed on. During a partition both sides sell; afterwards a cart has what either side put into it. What
is not: items cannot be taken out of a cart (a merge would bring them back: that takes a mark for each removed item),
`add` counts what the owner knows and not what the other side of a partition has, and old copies are never thrown away.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import trio
from shop import Shop

from swimring import Request, Service
from swimring.errors import CallError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring import Node
    from swimring.service import NodeView

app = Service("carts")
_shelves: WeakKeyDictionary[NodeView, dict[str, set[str]]] = WeakKeyDictionary()


@app.on("add", idempotent=True)
async def add(request: Request, item: str) -> int:
    """Put ``item`` into the cart that is the key."""
    name = str(request.key)
    cart = _shelf_of(request.node)[name]
    cart.add(item)
    for member in request.node.replicas(name, len(request.node.members)):
        if await _give(request.node, member.name, {name: [item]}):
            return len(cart)
    raise RuntimeError(f"no other node took a copy of {item}")


@app.on("items", idempotent=True)
async def items(request: Request) -> list[str]:
    """Everything in the cart that is the key, as far as the nodes that have it answer within a second."""
    name = str(request.key)
    found = set(_shelf_of(request.node)[name])
    with trio.move_on_after(1):
        async with request.node.query("show", {"cart": name}) as answers:
            async for answer in answers:
                found.update(answer.value or ())
    return sorted(found)


@app.on("take", idempotent=True)
async def take(request: Request, carts: dict[str, list[str]]) -> None:
    """Merge what another node has."""
    shelf = _shelf_of(request.node)
    for name, some in carts.items():
        shelf[name].update(some)


@app.on("show", idempotent=True)
async def show(request: Request, cart: str) -> list[str]:
    """What this node has of a cart."""
    return sorted(_shelf_of(request.node).get(cart, ()))


async def keep_copies(node: Node) -> None:
    """Beside each node: whenever nodes come or go, hand what it has to those who should have it now."""
    async with node.events() as events:
        async for _ in events:
            with trio.move_on_after(1):  # news come in bursts, and the ring follows half a second later
                async for _ in events:
                    pass
            while not await _hand_out(node):  # noqa: ASYNC110 - nothing tells when a node answers again
                await trio.sleep(1)


async def _hand_out(node: Node) -> bool:
    parcels: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for name, some in sorted(_shelf_of(node).items()):
        for keeper in _keepers(node, name):
            parcels[keeper][name] = sorted(some)
    return all([await _give(node, keeper, carts) for keeper, carts in parcels.items()])


def _keepers(node: Node, name: str) -> Iterator[str]:
    """Who should have a cart: its owner and the next node on the ring."""
    for member in (node.lookup(name), *node.replicas(name, 1)):
        if member.name != node.name:
            yield member.name


async def _give(node: NodeView, keeper: str, carts: dict[str, list[str]]) -> bool:
    """Whether ``keeper`` has merged ``carts``, as far as we know."""
    with trio.move_on_after(1):
        try:
            await node.peer(keeper).call(take, None, carts)
        except CallError:
            return False
        return True
    return False


def _shelf_of(node: NodeView) -> dict[str, set[str]]:
    """What a node has. The nodes of a simulation share this module: what is in memory belongs to one of them."""
    return _shelves.setdefault(node, defaultdict(set))


shop = Shop(service=app, add=add, items=items, beside=keep_copies)
