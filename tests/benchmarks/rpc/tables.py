"""What was found, as tables: calls, streams, and the targets with how far each was met."""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .pairs import PEERS, TITLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .__main__ import Figures

LOOKUPS = 0.8
OURS, NO_DELAY = "swimring", "tentacoli, no-delay"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A ratio that we promise ourselves."""

    what: str
    ratio: Callable[[Figures], float]
    bound: float
    at_most: bool = False

    def met(self, ratio: float) -> bool:
        return ratio <= self.bound if self.at_most else ratio >= self.bound


def _of(name: str, part: str, against: str) -> Callable[[Figures], float]:
    return lambda found: found[name, OURS][part] / found[name, against][part]


def targets() -> Iterator[Target]:
    """In the order in which they were set."""
    for at_once, bound in ((1, 0.8), (100, 1.5), (1000, 1.5)):
        what = f"requests/s against tentacoli with no-delay, {at_once:,} at a time"
        yield Target(what=what, ratio=_of(f"calls {at_once}", "rate", NO_DELAY), bound=bound)
    for at_once, bound in ((1, 3.5), (100, 12), (1000, 12)):
        what = f"requests/s against grpcio's asyncio, {at_once:,} at a time"
        yield Target(what=what, ratio=_of(f"calls {at_once}", "rate", "grpc"), bound=bound)
    yield Target(
        what="p50 of one call at a time, against an echo of the same bytes over a bare Trio stream",
        ratio=_of("calls 1", "p50", "bare"), bound=1.8, at_most=True,
    )  # fmt: skip
    yield Target(
        what="bulk bytes in chunks of 64 KiB, against a bare Trio stream",
        ratio=_of("bulk 64", "rate", "bare"),
        bound=0.6,
    )
    yield Target(
        what="p99 of small calls, 10 at a time, beside a full stream on the connection, against alone",
        ratio=lambda found: found["mixed", OURS]["beside"] / found["mixed", OURS]["alone"], bound=3, at_most=True,
    )  # fmt: skip


def print_tables(found: Figures, rounds: list[Figures], lookups: dict[str, float]) -> None:
    """All of them, as Markdown; ``lookups`` are the ratios of finding one handler of 1,000 and one of 10."""
    _print_calls(found)
    _print_streams(found)
    _print_targets(found, rounds)
    for name, ratio in lookups.items():
        verdict = "met" if ratio >= LOOKUPS else "**missed**"
        print(
            f"| lookups/s with 1,000 patterns against 10: {name} | {ratio:.2f} | | at least {LOOKUPS:g} | {verdict} |"
        )


def _print_calls(found: Figures) -> None:
    print("Requests/s (p50 and p99 in ms; µs of processor time that both processes spend on one):\n")
    print("| | 1 at a time | 100 | 1,000 |\n|---|---:|---:|---:|")
    for peer in PEERS:
        cells = [_calls(found.get((f"calls {at_once}", peer))) for at_once in (1, 100, 1000)]
        if any(cells):
            print(f"| {TITLES[peer]} | {' | '.join(cells)} |")
    print()


def _calls(figures: dict[str, float] | None) -> str:
    if figures is None:
        return ""
    return f"{figures['rate']:,.0f} ({figures['p50']:.2f}, {figures['p99']:.2f}; {figures['cpu']:.0f})"


def _print_streams(found: Figures) -> None:
    print("| streams | 64 KiB chunks, MiB/s | 1 KiB chunks, MiB/s | objects/s |\n|---|---:|---:|---:|")
    for peer in PEERS:
        figures = [found.get((name, peer)) for name in ("bulk 64", "bulk 1", "objects")]
        if any(figures):
            cells = ["" if one is None else f"{one['rate']:,.0f}" for one in figures]
            print(f"| {TITLES[peer]} | {' | '.join(cells)} |")
    mixed = found.get(("mixed", OURS))
    if mixed is not None:
        print(
            f"\nSmall calls, 10 at a time: p99 {mixed['alone']:.2f} ms alone, {mixed['beside']:.2f} ms beside a stream "
            f"of {mixed['bulk']:,.0f} MiB/s."
        )
    print()


def _print_targets(found: Figures, rounds: list[Figures]) -> None:
    print("| ratio | measured | in single rounds | target | |\n|---|---:|---:|---:|---|")
    for target in targets():
        ratio = _ratio(target, found)
        if math.isnan(ratio):
            continue
        single = [_ratio(target, one) for one in rounds]
        word = "at most" if target.at_most else "at least"
        verdict = "met" if target.met(ratio) else "**missed**"
        spread = f"{min(single):.2f} to {max(single):.2f}"
        print(f"| {target.what} | {ratio:.2f} | {spread} | {word} {target.bound:g} | {verdict} |")


def _ratio(target: Target, found: Figures) -> float:
    try:
        return target.ratio(found)
    except KeyError:
        return math.nan
