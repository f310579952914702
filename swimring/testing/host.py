"""A machine whose clocks are virtual and whose dice, even its entropy, are seeded."""

from __future__ import annotations

from typing import Final

import trio

from swimring.net import Host

from .simulation import dice

EPOCH_MS: Final = 1_750_000_000_000
"""What every wall clock shows when the virtual clock shows zero, in milliseconds since 1970."""


class SimulatedHost(Host):
    """A host that knows nothing but its seed and Trio's clock; equal arguments, equal behaviour."""

    def __init__(self, name: str, *, seed: int, life: int = 1, skew: float = 0.0, drift: float = 0.0) -> None:
        """Seed the dice from name, seed and life.

        Args:
            name: of the host.
            seed: of the simulation.
            life: the how-manieth life of that host: a restarted process rolls other dice.
            skew: seconds that the wall clock is ahead of true time.
            drift: how much faster the boot clock runs than true time: 0.001 gains 1 ms a second.
        """
        self.name = name
        self.rng = dice("host", seed, name, life)
        self._entropy = dice("entropy", seed, name, life)
        self._skew = skew
        self._drift = drift

    def __repr__(self) -> str:
        return f"<SimulatedHost {self.name}>"

    def wall_ms(self) -> int:
        """Milliseconds since 1970 in the simulated world."""
        return EPOCH_MS + int((trio.current_time() + self._skew) * 1000)

    def boot_time(self) -> float:
        """Seconds by this host's own oscillator."""
        return trio.current_time() * (1 + self._drift)

    def entropy(self, size: int) -> bytes:
        """Bytes that look random and repeat with the seed."""
        return self._entropy.randbytes(size)
