"""Three nodes in processes of their own, whose dashboards are open to orders, and somebody who calls them."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from swimring import CallError
from swimring.node import open_node
from tests.integration.processes import running

from . import shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.node import Node
    from tests.integration.processes import Running

TOKEN: Final = "a-token-that-nobody-guesses"
SHOP: Final = f"{Path(shop.__file__)}:app"


class Cluster:
    """The processes by name, the URL of each dashboard, and a node of this process that only calls."""

    def __init__(self) -> None:
        self.nodes: dict[str, Running] = {}
        self.urls: dict[str, str] = {}
        self.options: tuple[str, ...] = ()
        self.join = "127.0.0.1:1"

    async def add(self, name: str, stack: AsyncExitStack) -> None:
        """Start one more node."""
        options = (*self.options, "--name", name, "--join", self.join, "--admin", "127.0.0.1:0")
        node = self.nodes[name] = await stack.enter_async_context(running(SHOP, *options))
        self.urls[name] = (await node.wait_said("can be watched at")).split()[-1]
        self.join = await node.wait_address()


@asynccontextmanager
async def shops(name: str, folder: Path, names: str = "abc", *options: str) -> AsyncIterator[Cluster]:
    """Nodes of these names that take orders."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(f"{TOKEN}\n")
    cluster = Cluster()
    cluster.options = ("--cluster", name, "--admin-write", "--admin-token-file", str(token), *options)
    async with AsyncExitStack() as stack:
        for each in names:
            await cluster.add(f"node-{each}", stack)
        yield cluster


@asynccontextmanager
async def customers(cluster: Cluster, name: str, pause: float = 0.02) -> AsyncIterator[Node]:
    """Somebody who calls all the time while the block runs."""
    join = [cluster.join]
    async with (
        open_node(cluster=name, name="customers", listen="127.0.0.1:0", join=join, weight=0) as node,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_shop, node, pause)
        nursery.start_soon(_watch, node)
        yield node
        nursery.cancel_scope.cancel()


async def _shop(node: Node, pause: float) -> None:
    async def call(cmd: str, key: str) -> None:
        try:
            with trio.move_on_after(0.5):
                await node.request({"ns": "shop", "cmd": cmd, "key": key})
        except (CallError, ValueError):
            pass

    async with trio.open_nursery() as nursery:
        while True:
            for cmd, count in (("price", 6), ("add", 2), ("pay", 1)):
                for _ in range(count):
                    nursery.start_soon(call, cmd, f"cart-{int(shop.dice.expovariate(0.05))}")
            await trio.sleep(pause * shop.dice.uniform(0.5, 1.5))


async def _watch(node: Node) -> None:
    """One call that stays, and is made again when its node leaves."""
    while True:
        try:
            with trio.fail_after(120):
                await node.request({"ns": "shop", "cmd": "watch", "key": "lobby"})
        except (CallError, trio.TooSlowError):
            await trio.sleep(0.2)
