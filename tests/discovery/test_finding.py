"""All sources together: slow, broken and wrong ones do not get in the way of the others."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, ParamSpec

import pytest
import trio

from swimring.discovery import Finder, Seeds, SrvName, StaticSeeds, open_finder
from swimring.errors import MissingExtra
from swimring.identity import Address
from swimring.net import SocketNetwork, SystemHost
from swimring.testing import SimulatedNetwork, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

P = ParamSpec("P")
A, B, C = Address("a", 7979), Address("b", 7979), Address("c", 7979)


class Changing:
    """A source that answers one thing after the other: addresses, an error, or after so many seconds."""

    def __init__(self, *answers: Sequence[Address] | Exception | float) -> None:
        self._answers = list(answers)

    def __repr__(self) -> str:
        return "<Changing>"

    async def addresses(self) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await trio.sleep(answer)
            return ()
        return answer


def simulated(scenario: Callable[[SimulatedNetwork], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with open_simulated_network() as network:
            for host in "abc":
                network.at(host)
            await scenario(network)

    return functools.wraps(scenario, assigned=("__name__", "__doc__"))(lambda: run_simulation(main, seed=1))


def test_our_own_address_is_left_out_by_whatever_name_it_is_found() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        network.set_name("ring.example", "a", "b")
        network.set_name("me.example", "a")
        sources: list[Seeds] = [StaticSeeds([Address("ring.example", 7979)], network=network.at("a")), Changing([A, C])]
        finder = Finder(sources, network=network.at("a"), own=[Address("0.0.0.0", 7979), Address("me.example", 7979)])
        assert await finder.addresses() == (B, C)

    simulated(scenario)()


def test_what_a_source_said_last_counts_while_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        broken = Changing([B], OSError("no route"), ZeroDivisionError(), [C], OSError("again"))
        finder = Finder([broken, Changing(*([[A]] * 5))], network=network.at("a"), own=[])
        assert [await finder.addresses() for _ in range(5)] == [(B, A), (B, A), (B, A), (C, A), (C, A)]

    simulated(scenario)()
    complaints = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.rpartition(": ")[2] for line in complaints] == ["no route", "again"]  # one line for one failure


def test_a_slow_source_is_waited_for_five_seconds() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        finder = Finder([Changing([B], 60.0), Changing([A], [C])], network=network.at("a"), own=[])
        assert await finder.addresses() == (B, A)
        before = trio.current_time()
        assert await finder.addresses() == (B, C)
        assert trio.current_time() - before == pytest.approx(5)

    simulated(scenario)()


def test_a_source_that_answers_nonsense_is_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        finder = Finder([Changing(["a:7979"]), Changing([B])], network=network.at("a"), own=[])  # type: ignore[list-item] # that is the point
        assert await finder.addresses() == (B,)

    simulated(scenario)()
    assert "<Changing> fails" in caplog.text


def test_of_a_source_that_says_too_much_the_first_1024_count() -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        many = [Address("a", port) for port in range(1, 3000)]
        finder = Finder([Changing(many)], network=network.at("b"), own=[])
        assert await finder.addresses() == tuple(many[:1024])

    simulated(scenario)()


async def test_srv_records_without_the_extra_name_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "dns" or name.startswith("dns.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "swimring.discovery.dns", raising=False)
    monkeypatch.setitem(sys.modules, "dns", None)
    with pytest.raises(MissingExtra, match=r"pip install 'swimring\[dns\]'"):
        async with open_finder(
            [SrvName("x.example")], network=SocketNetwork(), host=SystemHost(), cluster="c", bound=A, advertised=A
        ):
            pass
