"""The client as mypy --strict and pyright strict see it. Checked, not run; see check_service.py."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from swimring.client import Mesh, connect
from swimring.swim import Member

from .check_service import greet

if TYPE_CHECKING:
    from swimring.identity import Address
    from swimring.service import Caller


async def uses(address: Address) -> None:
    async with connect("10.0.0.7:7979", address, cluster="hello") as mesh:
        assert_type(mesh, Mesh)
        assert_type(await mesh.call(greet, "k1", "World", excited=True), str)
        assert_type(await mesh.request({"ns": "hello", "cmd": "greet"}, idempotent=True), Any)
        await mesh.cast({"ns": "hello", "cmd": "greet"})
        assert_type(mesh.lookup("k1"), Member)
        assert_type(mesh.replicas(b"k1", 2, "hello"), tuple[Member, ...])
        takes_a_caller(mesh)


async def wrong_uses(mesh: Mesh) -> None:
    await mesh.call(greet, "k1")  # type: ignore[call-arg]
    await mesh.call(greet, "k1", 5)  # type: ignore[arg-type]
    await mesh.request("greet")  # type: ignore[arg-type]
    mesh.lookup(5)  # type: ignore[arg-type]
    async with connect(5):  # type: ignore[arg-type]
        pass


def takes_a_caller(_caller: Caller) -> None: ...
