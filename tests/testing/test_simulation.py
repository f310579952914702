"""Equal seeds repeat everything: the schedule, the network, the machines. And the rules of `run_simulation`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import swimring.testing.simulation as simulation_module
from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.testing import NotRepeatable, SimulatedHost, SimulatedNetwork, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from swimring.net import Datagrams


async def gossip_at_random() -> str:
    """Five hosts that send each other datagrams and are cut off from time to time; the hash of what happened."""
    names = [f"n{number}" for number in range(5)]
    async with open_simulated_network() as network, trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(_chatter, network, name, names)
        with network.loss(0.1), network.duplication(0.1):
            await trio.sleep(5)
        with network.isolate("n0"):
            await trio.sleep(5)
        nursery.cancel_scope.cancel()
    return network.trace.digest


async def _chatter(network: SimulatedNetwork, name: str, names: list[str]) -> None:
    binding, host = await network.at(name).bind(Address(name, 7979)), network.host(name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_answer, binding.datagrams)
        while True:
            await trio.sleep(host.rng.random() / 10)
            await binding.datagrams.send(host.entropy(8), Address(host.rng.choice(names), 7979))


async def _answer(datagrams: Datagrams) -> None:
    while True:
        for payload, source in await datagrams.receive():
            if len(payload) < 12:
                await datagrams.send(payload + b"!", source)


async def cancel_many_waits() -> str:
    """Waits that do something when they are abandoned, as calls do that send a frame then: does the order repeat?"""
    order: list[int] = []

    async def wait(number: int) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            order.append(number)
            return trio.lowlevel.Abort.SUCCEEDED

        with trio.CancelScope():
            await trio.lowlevel.wait_task_rescheduled(abort)

    async def wait_directly(number: int) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            order.append(number)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(wait if number % 2 else wait_directly, number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return repr(order)


def in_another_process(function: str, *, hash_seed: str) -> str:
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('scenarios', {__file__!r})\n"
        "scenarios = importlib.util.module_from_spec(spec); spec.loader.exec_module(scenarios)\n"
        f"print(scenarios.run_simulation(scenarios.{function}, seed=5))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    return finished.stdout.strip()


@pytest.mark.parametrize("scenario", [gossip_at_random, cancel_many_waits])
def test_equal_seeds_give_equal_traces_in_any_process(scenario: object) -> None:
    name = getattr(scenario, "__name__", "")
    here = run_simulation(globals()[name], seed=5)
    assert here == run_simulation(globals()[name], seed=5)
    assert here == in_another_process(name, hash_seed="1")
    assert here == in_another_process(name, hash_seed="2")


def test_different_seeds_give_different_traces() -> None:
    assert len({run_simulation(gossip_at_random, seed=seed) for seed in range(5)}) == 5


def test_hours_pass_in_no_time_and_the_result_is_returned() -> None:
    async def main(hours: int) -> float:
        await trio.sleep(hours * 3600)
        return trio.current_time()

    assert run_simulation(main, 24, seed=0) == 24 * 3600


def test_a_failure_names_its_seed() -> None:
    async def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failure:
        run_simulation(main, seed=4711)
    assert "seed=4711" in failure.value.__notes__[0]


def test_what_a_simulation_seeds_is_given_back() -> None:
    class_before = dict(vars(trio.lowlevel.Task))
    state = random.getstate()
    run_simulation(trio.sleep, 1, seed=0)
    assert random.getstate() == state
    assert dict(vars(trio.lowlevel.Task)) == class_before


def test_a_version_of_trio_that_was_not_tested_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio, "__version__", "99.1.0")
    with pytest.raises(ConfigError, match=r"99\.1\.0"):
        run_simulation(trio.sleep, 1, seed=0)


def test_threads_are_refused() -> None:
    async def main() -> None:
        await trio.to_thread.run_sync(int)

    with pytest.raises(NotRepeatable, match="threads"):
        run_simulation(main, seed=0)


def test_there_is_one_simulation_at_a_time() -> None:
    async def main() -> None:
        run_simulation(trio.sleep, 1, seed=2)

    with pytest.raises(ConfigError, match="one simulation at a time"):
        run_simulation(main, seed=1)
    run_simulation(trio.sleep, 1, seed=2)
    assert not simulation_module._running


def test_a_simulated_machine_has_skewed_clocks_and_repeatable_entropy() -> None:
    async def main() -> None:
        true, ahead = SimulatedHost("a", seed=1), SimulatedHost("b", seed=1, skew=2.5, drift=0.01)
        began = ahead.boot_time()
        await trio.sleep(100)
        assert ahead.wall_ms() - true.wall_ms() == 2500
        assert ahead.boot_time() - began == pytest.approx(101)
        assert true.entropy(16) == SimulatedHost("a", seed=1).entropy(16) != ahead.entropy(16)
        assert SimulatedHost("a", seed=1, life=2).entropy(16) != SimulatedHost("a", seed=1).entropy(16)

    run_simulation(main, seed=1)
