"""A machine whose clocks are virtual and whose dice, even its entropy, are seeded."""

from __future__ import annotations

from typing import Final

import trio

from swimring.net import Host

from .simulation import dice

MEMORY: Final = 64 * 1024 * 1024
"""Bytes that a simulated process takes."""
EPOCH_MS: Final = 1_750_000_000_000
"""What every wall clock shows when the virtual clock shows zero, in milliseconds since 1970."""


class Clock:
    """The wall clock and the boot clock of one machine; both can be wrong, and that can change."""

    def __init__(self, *, skew: float = 0.0, drift: float = 0.0) -> None:
        """The wall clock is ``skew`` seconds ahead, the boot clock runs ``1 + drift`` times as fast as true time."""
        self.skew = skew
        self._drift = drift
        self._turned_at = 0.0
        self._showed = 0.0

    @property
    def drift(self) -> float:
        """How much faster the boot clock runs than true time; another drift does not make it jump."""
        return self._drift

    @drift.setter
    def drift(self, drift: float) -> None:
        self._showed = self.boot_time()
        self._turned_at = trio.current_time()
        self._drift = drift

    def wall_ms(self) -> int:
        """Milliseconds since 1970 in the simulated world."""
        return EPOCH_MS + int((trio.current_time() + self.skew) * 1000)

    def boot_time(self) -> float:
        """Seconds by this machine's own oscillator."""
        return self._showed + (trio.current_time() - self._turned_at) * (1 + self._drift)


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
        self.clock = Clock(skew=skew, drift=drift)

    def __repr__(self) -> str:
        return f"<SimulatedHost {self.name}>"

    def wall_ms(self) -> int:
        """Milliseconds since 1970 by its own clock."""
        return self.clock.wall_ms()

    def boot_time(self) -> float:
        """Seconds by this host's own oscillator."""
        return self.clock.boot_time()

    def entropy(self, size: int) -> bytes:
        """Bytes that look random and repeat with the seed."""
        return self._entropy.randbytes(size)

    def memory(self) -> tuple[int, int]:
        """That of a small process: what many nodes share says nothing of one."""
        return MEMORY, MEMORY
