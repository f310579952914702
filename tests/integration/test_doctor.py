"""`swimring doctor` on set-ups that are broken in one way each."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring import Service
from swimring.net import SystemHost
from swimring.node import open_node
from tests.chaos.wires import Wires, open_tunnel, open_wires, why_not

from .processes import running, started, swimring
from .test_run import HELLO, cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["cluster"]


async def bad(*arguments: str, prefix: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """What the doctor finds wrong, by check."""
    status, out, err = await swimring("doctor", "--json", *arguments, prefix=prefix)
    assert err == ""
    found = [one for one in json.loads(out) if one["verdict"] == "bad"]
    assert status == (1 if found else 0)
    assert all(one["means"] and one["do"] for one in found)
    return {one["check"]: one for one in found}


class Between:
    """Hands connections on to the port ``to``, and of datagrams those whose number ``passes``."""

    def __init__(self, to: int, passes: Callable[[int], bool], nursery: trio.Nursery) -> None:
        self._to = to
        self._passes = passes
        self._nursery = nursery

    async def hand_on(self, near: trio.SocketStream) -> None:
        async with near, await trio.open_tcp_stream("127.0.0.1", self._to) as far, trio.open_nursery() as both:
            both.start_soon(self._pump, near, far)
            both.start_soon(self._pump, far, near)

    async def hand_on_datagrams(self, near: trio.socket.SocketType) -> None:
        ways: dict[Any, trio.socket.SocketType] = {}
        with ExitStack() as stack:
            for number in count():
                datagram, back = await near.recvfrom(65536)
                if back not in ways:
                    far = ways[back] = stack.enter_context(trio.socket.socket(type=trio.socket.SOCK_DGRAM))
                    await far.connect(("127.0.0.1", self._to))
                    self._nursery.start_soon(self._carry, far, near, back)
                if self._passes(number):
                    await ways[back].send(datagram)

    async def _carry(self, far: trio.socket.SocketType, near: trio.socket.SocketType, back: Any) -> None:
        while True:
            with suppress(ConnectionRefusedError):
                await near.sendto(await far.recv(65536), back)

    async def _pump(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            while chunk := await source.receive_some():
                await target.send_all(chunk)
            await target.send_eof()


@asynccontextmanager
async def in_between(to: int, passes: Callable[[int], bool]) -> AsyncIterator[str]:
    """An address that leads to the port ``to``."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as near:
            await near.bind(("127.0.0.1", port))
            between = Between(to, passes, nursery)
            nursery.start_soon(partial(trio.serve_listeners, between.hand_on, [listener]))
            nursery.start_soon(between.hand_on_datagrams, near)
            yield f"127.0.0.1:{port}"
            nursery.cancel_scope.cancel()


async def test_a_name_a_port_a_cluster_and_a_secret_that_are_wrong_are_told_apart(cluster: str, tmp_path: Path) -> None:
    own, other = tmp_path / "own.secret", tmp_path / "other.secret"
    for number, file in enumerate((own, other)):
        file.touch(mode=0o600)
        file.write_text(f"{number:02x}" * 32)
    options = ("--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1", "--secret-file", str(own))
    with trio.fail_after(60):
        async with running(HELLO, *options) as node:
            via = ("--join", await node.wait_address())
            secret = ("--secret-file", str(own))
            assert await bad(*via, *secret) == {}
            found = await bad("--join", "no.such.invalid:1", "--join", "127.0.0.1:1", *via, "--secret-file", str(other))
            assert set(found) == {"dns", "tcp", "secret"}
            assert found["tcp"]["found"] == "refused"
            assert set(await bad(*via, *secret, "--cluster", "another")) == {"cluster"}


@pytest.mark.parametrize(
    ("passes", "means"),
    [(lambda _number: False, "do not pass"), (lambda number: number % 3 != 0, "are lost on the way")],
    ids=["all", "some"],
)
async def test_datagrams_that_are_lost_are_found_and_it_is_said_whether_all_are(
    cluster: str, passes: Callable[[int], bool], means: str
) -> None:
    with trio.fail_after(60):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserve:
            reserve.bind(("127.0.0.1", 0))
            port = reserve.getsockname()[1]
        async with in_between(port, passes) as advertised:
            options = ("--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1", "--advertise", advertised)
            async with started("run", HELLO, "--listen", f"127.0.0.1:{port}", *options) as node:
                assert await node.wait_address() == advertised
                found = await bad("--join", advertised)
                assert set(found) == {"udp"}
                assert means in found["udp"]["means"]


async def test_a_member_that_is_silent_is_found_however_short_the_time_to_connect(cluster: str) -> None:
    options = ("--cluster", cluster, "--profile", "lan")
    with trio.fail_after(60):
        async with running(HELLO, *options, "--name", "a", "--join", "127.0.0.1:1") as first:
            via = await first.wait_address()
            async with running(HELLO, *options, "--name", "b", "--join", via) as second:
                await second.wait_address()
                second.signal(signal.SIGSTOP)
                found = await bad("--join", via, "--within", "1")
                assert set(found) == {"udp"}
                assert found["udp"]["subject"] == "b"


class Ahead(SystemHost):
    """A machine whose clock is an hour ahead."""

    def wall_ms(self) -> int:
        return super().wall_ms() + 3_600_000


async def test_a_clock_that_is_wrong_is_found_by_how_much(cluster: str) -> None:
    with trio.fail_after(60):
        async with open_node(
            Service("hello"), name="a", cluster=cluster, listen="127.0.0.1:0", join=["127.0.0.1:1"], host=Ahead()
        ) as node:
            found = await bad("--join", str(node.me.address))
            assert set(found) == {"clock"}
            assert found["clock"]["found"] in {"+3600.0 s from here", "+3600.1 s from here", "+3599.9 s from here"}


# ------------------------------------------------------------------------------------------- machines of their own


@asynccontextmanager
async def nodes_at(places: Mapping[str, tuple[list[str], str]], cluster: str) -> AsyncIterator[None]:
    """A node of each name, run by that prefix at that host; each joins the first, and all know each other."""
    first = next(iter(places.values()))[1]
    async with AsyncExitStack() as stack:
        for name, (prefix, host) in places.items():
            options = ("--cluster", cluster, "--name", name, "--insecure", "--admin", "off", "--profile", "lan")
            listening = ("--listen", f"{host}:7979", "--join", f"{first}:7979")
            node = await stack.enter_async_context(started("run", HELLO, *options, *listening, prefix=prefix))
            await node.wait_address()
        yield


@pytest.fixture
def wires() -> Iterator[Wires]:
    """Four machines at one switch."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with open_wires(["left"] * 4) as wires:
        yield wires


async def test_a_way_that_is_closed_in_one_direction_is_found_from_elsewhere_and_from_its_end(
    cluster: str, wires: Wires
) -> None:
    with trio.fail_after(120):
        places = {name: (wires.place(number), wires.host(number)) for number, name in enumerate("abc")}
        async with nodes_at(places, cluster):
            via, elsewhere = ("--join", f"{wires.host(2)}:7979"), wires.place(3)
            assert await bad(*via, prefix=elsewhere) == {}
            wires.close_way(0, 1)
            found = await bad(*via, prefix=elsewhere)
            assert set(found) == {"reach"}  # a asks c to ping b for it, so nobody need doubt anybody
            assert found["reach"]["subject"] in {"a to b", "b to a"}
            found = await bad(*via, prefix=wires.place(1))
            assert set(found) == {"tcp", "udp"}
            assert found["tcp"]["subject"].startswith("a at ")
            assert "silent" in found["tcp"]["found"]


@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_a_firewall_that_lets_only_one_of_both_through_is_found(cluster: str, wires: Wires, kind: str) -> None:
    with trio.fail_after(120):
        async with nodes_at({"a": (wires.place(0), wires.host(0))}, cluster):
            via = ("--join", f"{wires.host(0)}:7979")
            assert await bad(*via, prefix=wires.place(3)) == {}
            wires.close_way(0, 3, kind)
            found = await bad(*via, prefix=wires.place(3))
            assert set(found) == {kind}


@pytest.mark.parametrize("tells", [True, False], ids=["ICMP passes", "ICMP is dropped"])
async def test_a_tunnel_that_is_too_narrow_for_large_datagrams_is_found(cluster: str, tells: bool) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with trio.fail_after(120), open_tunnel(mtu=900, tells=tells) as (here, there, host):
        async with nodes_at({"a": (there, host)}, cluster):
            found = await bad("--join", f"{host}:7979", prefix=here)
            assert set(found) == {"mtu"}
            assert ("900 bytes" if tells else "no ping of 1400 bytes") in found["mtu"]["found"]
