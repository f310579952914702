"""What real processes cannot be made to do: asking for it skips the test, and says why."""

from __future__ import annotations

from typing import Final, NoReturn

_NETWORK: Final = "the loopback of this machine cannot be disturbed without root"
_DISK: Final = "the disk of this machine cannot be disturbed without root"
_CANNOT: Final = {
    "partition": _NETWORK,
    "isolate": _NETWORK,
    "one_way": _NETWORK,
    "flapping": _NETWORK,
    "loss": _NETWORK,
    "duplication": _NETWORK,
    "reordering": _NETWORK,
    "corruption": _NETWORK,
    "latency": _NETWORK,
    "bandwidth": _NETWORK,
    "refuse": _NETWORK,
    "half_open": _NETWORK,
    "inject": _NETWORK,
    "network": "there is no simulated network",
    "check": "rules are asked at every event, and processes have no moment in common",
    "rules": "rules are asked at every event, and processes have no moment in common",
    "freeze": "a machine cannot be lost: all processes are on this one",
    "full_disk": _DISK,
    "failing_disk": _DISK,
    "slow_disk": _DISK,
    "torn_writes": _DISK,
    "forgetful_disk": _DISK,
    "inject_disk": _DISK,
    "clock_skew": "all processes share the clock of this machine",
    "clock_drift": "all processes share the clock of this machine",
    "slow": "an event loop cannot be made slow from outside",
    "skew": "all processes share the clock of this machine",
    "drift": "all processes share the clock of this machine",
}


class Impossible:
    """Whoever asks for what only a simulation has ends the test there, skipped."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        skip(name)


def skip(what: str, *, because: str = "") -> NoReturn:
    """Skip the running test: ``what`` cannot be done."""
    import pytest  # noqa: PLC0415 - the kit works without, but not this part of it

    reason = because or _CANNOT.get(what, "only a simulated cluster has that")
    pytest.skip(f"{what} cannot be had with --swimring-real: {reason}")
