"""The machine: wall clock, boot clock, entropy and dice. Nobody else asks for them."""

from __future__ import annotations

import os
import random
import time
from abc import ABC, abstractmethod


class Host(ABC):
    """What a node asks of the machine it runs on; simulation hands out one that is seeded and virtual."""

    rng: random.Random
    """The node's dice, for staggering, shuffling and jitter; never for secrets."""

    @abstractmethod
    def wall_ms(self) -> int:
        """Milliseconds since 1970 by the wall clock: for generations and log lines only."""

    @abstractmethod
    def boot_time(self) -> float:
        """Seconds by a clock that runs on while the machine sleeps: for leases."""

    @abstractmethod
    def entropy(self, size: int) -> bytes:
        """``size`` unpredictable bytes: for secrets, salts and nonces."""


class SystemHost(Host):
    """The real machine."""

    def __init__(self) -> None:
        """Seed the dice from the operating system."""
        self.rng = random.Random()  # noqa: S311 - staggering and shuffling, not secrets

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def boot_time(self) -> float:
        """Seconds since boot, sleep included; where the platform has no such clock, the monotonic one."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def entropy(self, size: int) -> bytes:
        """Bytes from the operating system."""
        return os.urandom(size)
