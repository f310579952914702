"""Runs a rule about the simulator inside a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swimring.testing import SimulatedNetwork, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.fixture
def simulate() -> Callable[[Callable[[SimulatedNetwork], Awaitable[None]]], None]:
    """Run the given async function with a simulated network, in virtual time."""

    def run(rule: Callable[[SimulatedNetwork], Awaitable[None]]) -> None:
        async def main() -> None:
            async with open_simulated_network() as network:
                await rule(network)

        run_simulation(main, seed=1)

    return run
