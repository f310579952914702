"""What connections take is a setting of the node, and each side keeps to what the other has announced."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from swimring.errors import LocalProtocolError
from swimring.mux import Limits
from swimring.service import Request, Service

from .nodes import key_of, node_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork

MIB = 1024 * 1024
LARGE = Limits(message=4 * MIB, message_window=16 * MIB)


def echoing() -> Service:
    service = Service("echo")

    @service.on("echo")
    async def echo(request: Request, data: bytes) -> bytes:
        return data

    return service


@simulated
async def test_a_message_is_as_large_as_its_receiver_takes_elsewhere_and_here(network: SimulatedNetwork) -> None:
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(node_at(network, "a", echoing(), limits=LARGE))
        b = await stack.enter_async_context(node_at(network, "b", echoing(), join=["a"], limits=LARGE))
        c = await stack.enter_async_context(node_at(network, "c", echoing(), join=["a"]))
        for node in (a, b, c):
            await node.wait_ring("echo", nodes=3)
        large = b"x" * 3 * MIB

        def message(owner: str) -> dict[str, object]:
            return {"ns": "echo", "cmd": "echo", "key": key_of(a, owner, service="echo"), "data": large}

        for owner in "ab":
            assert await a.request(message(owner)) == large
        with pytest.raises(LocalProtocolError, match="the peer takes 1048576"):
            await a.request(message("c"))
