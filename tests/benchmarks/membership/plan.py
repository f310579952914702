"""Which measurements the table needs, and which of them run side by side.

Those of a group run at the same time, each in its own network namespace, so that whatever else the machine does hits
all of them: they wait for timers nearly all of the time. Mass joins do not, and run one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of the worker.

    Attributes:
        key: under which name its results are kept; those of equal keys are put together.
        arguments: of the worker.
        rows: which rows of the table use its results.
    """

    key: str
    arguments: tuple[str, ...]
    rows: frozenset[str]

    @property
    def needs_serf(self) -> bool:
        return self.arguments[0] == "serf"

    @property
    def needs_namespace(self) -> bool:
        return "partition" in self.arguments


def groups(*, quick: bool) -> list[list[Job]]:
    """All measurements, in the order in which they run."""
    count = 3 if quick else 20
    repeats = 2 if quick else 5
    return [
        *_joins(repeats),
        _kills("local", 10, count, {"G1"}),
        [*_kills("lan", 10, count, {"G2"}), *_pauses(), *_bystanders(min(count, 5))],
        _thirty(count),
        [*_hundred(count), *_partition()],
    ]


def _job(key: str, arguments: str, rows: set[str]) -> Job:
    return Job(key=key, arguments=tuple(arguments.split()), rows=frozenset(rows))


def _joins(repeats: int) -> list[list[Job]]:
    kinds = [(system, size) for size in (10, 30) for system in ("serf", "swimring")] + [("crowd", 100)]
    return [
        [_job(f"{system} lan {size}", f"{system} lan {size} joins", {"G5"})]
        for _ in range(repeats)
        for system, size in kinds
    ]


def _kills(profile: str, size: int, count: int, rows: set[str]) -> list[Job]:
    kind = f"{profile} {size}"
    return [
        _job(f"serf {kind}", f"serf {kind} kills --count {count}", rows),
        _job(f"swimring {kind}", f"swimring {kind} kills --count {count} --no-refusals", rows),
        _job(f"refused {kind}", f"swimring {kind} kills --count {count}", rows),
    ]


def _pauses() -> list[Job]:
    return [_job(f"{system} lan 10", f"{system} lan 10 pauses", {"G11", "G12"}) for system in ("serf", "swimring")]


def _bystanders(count: int) -> list[Job]:
    return [
        _job("serf lan 6", "serf lan 6 bystanders", {"G13"}),
        _job("crowd lan 6", f"crowd lan 6 kills --count {count}", {"G13"}),
    ]


def _thirty(count: int) -> list[Job]:
    rows = {"G7", "G8", "G9", "G10"}
    return [
        *_kills("lan", 30, count, {"G3", "G8"}),
        _job("serf lan 30", f"serf lan 30 idle leaves --count {count}", rows),
        _job("swimring lan 30", f"swimring lan 30 idle leaves --count {count}", rows),
    ]


def _hundred(count: int) -> list[Job]:
    return [
        _job("serf lan 100", f"serf lan 100 kills --count {count}", {"G4"}),
        _job("crowd lan 100", f"crowd lan 100 idle updates kills --count {count}", {"G4", "G6", "G10"}),
    ]


def _partition() -> list[Job]:
    return [_job(f"{system} lan 30", f"{system} lan 30 partition", {"G15"}) for system in ("serf", "swimring")]
