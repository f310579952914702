"""SRV records, asked of a name server on loopback."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio

from swimring.discovery import SrvName, open_finder
from swimring.discovery.dns import SrvSeeds
from swimring.discovery.finding import ANSWERS_WITHIN
from swimring.identity import Address
from swimring.net import SocketNetwork, SystemHost
from swimring.node import open_node
from swimring.swim import MemberJoined, Profile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ME = Address("127.0.0.1", 7979)
RING = "_ring._tcp.example"


class NameServer:
    """Answers by a table of records; a name that has none does not exist."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing = False
        self.broken: set[tuple[str, str]] = set()
        """Questions that get no answer at all."""
        self.asked: list[tuple[str, str]] = []
        self._heard = trio.Event()
        self.address = ME

    def set(self, name: str, kind: str, *values: str) -> None:
        self.records[name, kind] = list(values)

    async def wait_asked(self) -> None:
        """Wait for the next question."""
        self._heard = trio.Event()
        await self._heard.wait()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
            await listening.bind(("127.0.0.1", 0))
            self.address = Address(*listening.getsockname())
            task_status.started()
            while True:
                question, source = await listening.recvfrom(4096)
                answer = self._answer(question)
                self._heard.set()
                if self.asked[-1] not in self.broken:
                    await listening.sendto(answer, source)

    def _answer(self, asked: bytes) -> bytes:
        query = dns.message.from_wire(asked)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True), question.to_text().split()[-1]
        self.asked.append((name, kind))
        values = self.records.get((name, kind), [])
        if self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif values:
            response.answer.append(dns.rrset.from_text(question.name, 0, "IN", kind, *values))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()


@asynccontextmanager
async def open_name_server() -> AsyncIterator[NameServer]:
    server = NameServer()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()


async def test_targets_come_by_priority_and_weight_with_all_their_addresses() -> None:
    async with open_name_server() as server:
        server.set(
            RING, "SRV", "2 0 7979 c.example.", "1 5 81 a.example.", "1 9 82 b.example.", "1 1 83 nobody.example."
        )
        server.set("a.example", "A", "10.0.0.1")
        server.set("a.example", "AAAA", "2001:db8::1")
        server.set("b.example", "A", "10.0.0.2")
        server.set("c.example", "AAAA", "2001:db8::3")
        found = await SrvSeeds(RING, server=server.address).addresses()
    assert [str(address) for address in found] == [
        "10.0.0.2:82",
        "10.0.0.1:81",
        "[2001:db8::1]:81",
        "[2001:db8::3]:7979",
    ]


async def test_no_such_name_is_nobody_and_a_server_that_fails_is_an_error() -> None:
    async with open_name_server() as server:
        assert await SrvSeeds(RING, server=server.address).addresses() == ()
        server.set(RING, "TXT", '"no service"')
        assert await SrvSeeds(RING, server=server.address).addresses() == ()
        server.failing = True
        with pytest.raises(OSError, match=RING):
            await SrvSeeds(RING, server=server.address).addresses()


async def test_a_target_that_nobody_can_tell_costs_the_others_nothing() -> None:
    async with open_name_server() as server:
        server.set(RING, "SRV", "1 0 7979 a.example.", "2 0 7979 b.example.")
        server.set("a.example", "A", "10.0.0.1")
        server.set("b.example", "A", "10.0.0.2")
        server.broken = {("a.example", "AAAA"), ("b.example", "A"), ("b.example", "AAAA")}
        with trio.fail_after(ANSWERS_WITHIN):
            assert await SrvSeeds(RING, server=server.address).addresses() == (Address("10.0.0.1", 7979),)
        server.broken.add(("a.example", "A"))
        with trio.fail_after(ANSWERS_WITHIN), pytest.raises(OSError, match=r"example"):
            await SrvSeeds(RING, server=server.address).addresses()


async def test_a_node_asks_for_its_srv_records_for_as_long_as_it_lives() -> None:
    async with open_name_server() as server:
        server.set(RING, "SRV", "0 0 1 gone.example.")
        server.set("gone.example", "A", "127.0.0.1")
        profile = replace(Profile.local(), heal_interval=0.1)
        source = f"dns+srv://{server.address}/{RING}"
        async with open_node(cluster="c", listen="127.0.0.1:0", join=[source], profile=profile) as alone:
            before = len(server.asked)
            async with open_node(cluster="c", listen="127.0.0.1:0", join=["127.0.0.1:1"], profile=profile) as other:
                _, port = str(other.me.address).split(":")
                with trio.fail_after(30):
                    async with alone.events() as events:
                        server.set(RING, "SRV", f"0 0 {port} gone.example.")  # told long after the start
                        async for event in events:
                            if isinstance(event, MemberJoined):
                                break
                with trio.fail_after(30):  # and with company as well
                    while len(server.asked) < before + 20:
                        await server.wait_asked()


async def test_a_name_is_asked_for_again_each_time_and_ourselves_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with open_name_server() as server:
        source = SrvName(RING, server.address)
        async with open_finder(
            [source], network=SocketNetwork(), host=SystemHost(), cluster="c", bound=ME, advertised=ME
        ) as finder:
            assert await finder.addresses() == ()
            server.set(RING, "SRV", "0 0 7979 me.example.", "0 0 7980 me.example.")
            server.set("me.example", "A", "127.0.0.1")
            assert await finder.addresses() == (Address("127.0.0.1", 7980),)
            server.failing = True
            assert await finder.addresses() == (Address("127.0.0.1", 7980),)
    assert "SERVFAIL" in caplog.text
