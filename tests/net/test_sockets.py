"""What only real sockets have: options, exhausted descriptors, errors of earlier datagrams."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import trio

from swimring.identity import Address
from swimring.net import SocketNetwork
from swimring.net.accepting import SocketStreamListener
from swimring.net.sockets import SocketDatagrams

LOOPBACK = Address("127.0.0.1", 0)


async def test_both_ends_of_a_connection_send_without_delay() -> None:
    network = SocketNetwork()
    binding = await network.bind(LOOPBACK)
    dialled = await network.connect(binding.address)
    accepted, _ = await binding.listener.accept()
    for stream in (dialled, accepted):
        assert isinstance(stream, trio.SocketStream)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.aclose()
    binding.close()


async def test_two_bindings_never_share_a_udp_port() -> None:
    network = SocketNetwork()
    binding = await network.bind(LOOPBACK)
    binding.listener.close()
    with pytest.raises(OSError, match="in use"):
        await network.bind(binding.address)
    assert isinstance(binding.datagrams, SocketDatagrams)
    binding.datagrams.close()
    (await network.bind(binding.address)).close()  # and a failed attempt left nothing bound


async def test_a_dialled_name_is_looked_up_and_its_addresses_tried_until_one_answers() -> None:
    network = SocketNetwork()
    binding = await network.bind(LOOPBACK)
    stream = await network.connect(Address("localhost", binding.address.port))
    await stream.aclose()
    binding.close()
    with pytest.raises(ConnectionRefusedError):
        await network.connect(Address("localhost", binding.address.port))


async def test_a_name_has_no_place_in_a_datagram() -> None:
    binding = await SocketNetwork().bind(LOOPBACK)
    with pytest.raises(OSError, match="resolve it first"):
        await binding.datagrams.send(b"x", Address("localhost", 1))
    binding.close()


async def test_a_name_can_be_bound_and_resolved() -> None:
    network = SocketNetwork()
    binding = await network.bind(Address("localhost", 0))
    assert binding.address.host in {"127.0.0.1", "::1"}
    assert binding.address in await network.resolve(Address("localhost", binding.address.port))
    binding.close()


async def test_an_ipv4_socket_says_that_it_cannot_reach_ipv6() -> None:
    binding = await SocketNetwork().bind(LOOPBACK)
    with pytest.raises(OSError, match="cannot reach"):
        await binding.datagrams.send(b"x", Address("::1", 7979))
    binding.close()


@pytest.mark.skipif(not hasattr(socket, "AF_INET"), reason="needs IPv4")
async def test_the_refusal_of_an_earlier_datagram_does_not_surface_on_receive() -> None:
    recverr = 11  # IP_RECVERR of Linux: report ICMP errors, as other platforms do by default
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", 0))
    bound.setsockopt(socket.IPPROTO_IP, recverr, 1)
    datagrams = SocketDatagrams(bound)
    here = Address("127.0.0.1", bound.getsockname()[1])
    other = await SocketNetwork().bind(LOOPBACK)
    gone = await SocketNetwork().bind(LOOPBACK)
    gone.close()
    await datagrams.send(b"refused", gone.address)
    await other.datagrams.send(b"good", here)
    with trio.fail_after(5):
        assert await datagrams.receive() == [(b"good", other.address)]
    datagrams.close()
    other.close()


class _Failing:
    """A listening socket of which each `accept` fails in turn as told, then gives one end of a pair."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)

    async def accept(self) -> tuple[Any, tuple[str, int]]:
        await trio.lowlevel.checkpoint()
        if self._errors:
            number = self._errors.pop(0)
            raise OSError(number, "injected")
        accepted = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        return accepted, ("127.0.0.1", 1)

    def close(self) -> None:
        self._errors = []


def _listener(*errors: int) -> SocketStreamListener:
    failing: Any = _Failing(*errors)  # the operating system, failing on demand
    return SocketStreamListener(failing, remote=lambda where: Address(*where))


async def test_accept_waits_out_exhausted_descriptors_with_growing_pauses(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    began = trio.current_time()
    stream, source = await _listener(*[errno.EMFILE] * 3, errno.ENFILE).accept()
    assert source == Address("127.0.0.1", 1)
    assert trio.current_time() - began == pytest.approx(0.01 + 0.02 + 0.04 + 0.08)
    assert len(caplog.records) == 4
    await stream.aclose()


async def test_accept_passes_over_connections_that_were_aborted(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    stream, _ = await _listener(errno.ECONNABORTED, errno.EPROTO).accept()
    assert trio.current_time() == began
    await stream.aclose()


async def test_accept_raises_what_will_not_pass(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(OSError, match="injected"):
        await _listener(errno.EINVAL).accept()


async def test_closing_ends_an_accept_that_waits_for_descriptors(autojump_clock: trio.testing.MockClock) -> None:
    listener = _listener(*[errno.EMFILE] * 10_000)
    began = trio.current_time()

    async def close() -> None:
        await trio.sleep(60)
        listener.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
    assert trio.current_time() - began == 60
