"""The machine: wall clock, boot clock, entropy and dice. Nobody else asks for them."""

from __future__ import annotations

import os
import random
import time
from abc import ABC, abstractmethod
from pathlib import Path


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

    def memory(self) -> tuple[int, int]:
        """Bytes that this process has in memory now, and had at most; 0 where nobody tells."""
        return 0, 0


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

    def memory(self) -> tuple[int, int]:
        """What the operating system says; a read of a file that is none, so that nothing waits for a disk."""
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            status = Path("/proc/self/status").read_text()
        except OSError:
            return 0, 0
        peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
        return pages * os.sysconf("SC_PAGE_SIZE"), int(peak) * 1024
