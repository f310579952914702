"""`swimring doctor` on set-ups that are broken in one way each."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .processes import running, started, swimring
from .test_run import HELLO, cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["cluster"]


async def bad(*arguments: str) -> dict[str, dict[str, Any]]:
    """What the doctor finds wrong, by check."""
    status, out, err = await swimring("doctor", "--json", *arguments)
    assert err == ""
    found = [one for one in json.loads(out) if one["verdict"] == "bad"]
    assert status == (1 if found else 0)
    assert all(one["means"] and one["do"] for one in found)
    return {one["check"]: one for one in found}


@asynccontextmanager
async def no_datagrams(to: int) -> AsyncIterator[str]:
    """An address that hands connections on to the port ``to`` and swallows datagrams."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
            hole.bind(("127.0.0.1", port))

            async def pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
                with suppress(trio.BrokenResourceError):
                    while chunk := await source.receive_some():
                        await target.send_all(chunk)
                    await target.send_eof()

            async def hand_on(near: trio.SocketStream) -> None:
                async with near, await trio.open_tcp_stream("127.0.0.1", to) as far, trio.open_nursery() as both:
                    both.start_soon(pump, near, far)
                    both.start_soon(pump, far, near)

            nursery.start_soon(partial(trio.serve_listeners, hand_on, [listener]))
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


async def test_datagrams_that_are_silently_dropped_are_found(cluster: str) -> None:
    with trio.fail_after(60):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserve:
            reserve.bind(("127.0.0.1", 0))
            port = reserve.getsockname()[1]
        async with no_datagrams(port) as advertised:
            options = ("--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1", "--advertise", advertised)
            async with started("run", HELLO, "--listen", f"127.0.0.1:{port}", *options) as node:
                assert await node.wait_address() == advertised
                found = await bad("--join", advertised)
                assert set(found) == {"udp"}
                assert "0 of 5" in found["udp"]["found"]
