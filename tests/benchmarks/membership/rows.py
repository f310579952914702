"""From results to the rows of the table: what was asked, what Serf does, what we do, and whether that will do."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any, Final

from .theory import declared_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Results = dict[str, dict[str, dict[str, Any]]]
"""By job, step and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; ``misses`` says what is missed and by how much, nothing if all is met."""

    name: str
    condition: str
    asked: str
    peer: str
    ours: str
    misses: Sequence[str]

    def __str__(self) -> str:
        verdict = "met" if not self.misses else "missed: " + "; ".join(self.misses)
        return f"| {self.name} | {self.condition} | {self.asked} | {self.peer} | {self.ours} | {verdict} |"


class Limits:
    """Collects what is missed."""

    def __init__(self) -> None:
        self.misses: list[str] = []

    def at_most(self, what: str, found: float | None, limit: float) -> None:
        if found is None:
            self.misses.append(f"{what} never happened")
        elif found > limit:
            self.misses.append(f"{what} {found:.3g} > {limit:.3g}")


def table(results: Results) -> list[str]:
    """The rows for which there are results, in Markdown."""
    lines = ["| # | what | asked of us | Serf | swimring | |", "|---|---|---|---|---|---|"]
    for row in ROWS:
        try:
            lines.append(str(row(results)))
        except KeyError:
            continue  # not measured in this run
    return lines


def times(found: Sequence[float | None]) -> str:
    """Mean and extremes."""
    seen = [one for one in found if one is not None]
    if not seen:
        return "never"
    never = f", never in {len(found) - len(seen)}" if len(seen) < len(found) else ""
    return f"{mean(seen):.2f} ({min(seen):.2f} to {max(seen):.2f}{never})"


def _worst(found: Sequence[float | None]) -> float | None:
    return None if None in found else max(one for one in found if one is not None)


def _mean(found: Sequence[float | None]) -> float | None:
    seen = [one for one in found if one is not None]
    return None if None in found else mean(seen)


def _median(found: Sequence[float | None]) -> float:
    return median(float("inf") if one is None else one for one in found)


def _peer(results: Results, key: str, step: str, *names: str) -> list[list[float | None]] | None:
    found = results.get(key, {}).get(step)
    return None if found is None else [found[name] for name in names]


def _seconds(found: float | None) -> str:
    return "never" if found is None else f"{found:.2f} s"


def _detection(name: str, profile: str, size: int, ours: str) -> Callable[[Results], Row]:
    def row(results: Results) -> Row:
        found = results[ours]["kills"]
        model = declared_dead(profile, size)
        limits = Limits()
        limits.at_most("first", _mean(found["first"]), model * 1.05)
        limits.at_most("all after first", (_mean(found["all"]) or 0) - (_mean(found["first"]) or 0), 0.5)
        peer = _peer(results, f"serf {profile} {size}", "kills", "first", "all")
        text = ""
        if peer is not None:
            text = f"first {times(peer[0])}; all {times(peer[1])}"
            for what, theirs in zip(("first", "all"), peer, strict=True):
                limits.at_most(f"{what}, beside Serf,", _mean(found[what]), (_mean(theirs) or float("inf")) * 1.1)
        said = f"first {times(found['first'])}; all {times(found['all'])}"
        if found["false"]:
            limits.misses.append(f"{found['false']} false failures")
        if rule := results.get(f"refused {profile} {size}"):
            known = rule["kills"]["all"]
            said += f"; by the rule all: median {_median(known):.2f}, at most {_seconds(_worst(known))}"
            limits.at_most("median by the rule", _median(known), 0.5)
        where = ", one process" if size >= 100 else ""
        return Row(
            name=name,
            condition=f"kill -9 of one of {size}, {profile}{where}",
            asked=f"first {model * 1.05:.2f} (the model and 5 %) and Serf and 10 %, all 0.5 later; by the rule 0.5",
            peer=text,
            ours=said,
            misses=limits.misses,
        )

    return row


def _join(size: int, limit: float, key: str) -> Callable[[Results], Row]:
    def row(results: Results) -> Row:
        full = results[key]["joins"]["full"]
        limits = Limits()
        limits.at_most("median", _median(full), limit)
        limits.at_most("worst", _worst(full), 2 * _median(full))
        peer = _peer(results, f"serf lan {size}", "joins", "full")
        where = ", one process" if size >= 100 else ""
        return Row(
            name="G5",
            condition=f"{size} join at one moment, lan{where}: all know all",
            asked=f"{limit:g} s, the worst at most twice the median",
            peer="" if peer is None else times(peer[0]),
            ours=times(full),
            misses=limits.misses,
        )

    return row


def _update(results: Results) -> Row:
    found = results["crowd lan 100"]["updates"]
    limits = Limits()
    limits.at_most("last", _worst(found["last"]), 1.0)
    return Row(
        name="G6",
        condition="new metadata of one of 100, lan, one process: half of the others, the last one",
        asked="last 1.0 s",
        peer="",
        ours=f"half {times(found['half'])}; last {times(found['last'])}",
        misses=limits.misses,
    )


def _leave(results: Results) -> Row:
    found = results["swimring lan 30"]["leaves"]
    limits = Limits()
    limits.at_most("worst", _worst(found["all"]), 1.2)
    if found["failed"]:
        limits.misses.append(f"{found['failed']} reported as failed first")
    peer = _peer(results, "serf lan 30", "leaves", "all")
    return Row(
        name="G7",
        condition="one of 30 leaves, lan: the last one knows",
        asked="1.2 s in all of 20",
        peer="" if peer is None else times(peer[0]),
        ours=times(found["all"]),
        misses=limits.misses,
    )


def _restart(results: Results) -> Row:
    found = results["swimring lan 30"]["kills"]
    opened = [one - start for one, start in zip(found["rejoin"], found["start_up"], strict=True) if one is not None]
    limits = Limits()
    limits.at_most("mean from the start of the process", _mean(found["rejoin"]), 1.0)
    limits.at_most("mean from the opening of the node", _mean(opened), 1.0)
    peer = _peer(results, "serf lan 30", "kills", "rejoin")
    return Row(
        name="G8",
        condition="a dead one of 30 starts again, lan: the last one knows",
        asked="1.0 s",
        peer="" if peer is None else times(peer[0]),
        ours=f"{times(found['rejoin'])} from the start of the process, {times(opened)} from the opening of the node",
        misses=limits.misses,
    )


def _traffic(results: Results) -> Row:
    found = results["swimring lan 30"]["idle"]
    limits = Limits()
    limits.at_most("datagrams", found["datagrams"], 2.1)
    limits.at_most("bytes", found["bytes"], 350)
    if found["datagrams"] < 1.9:
        limits.misses.append(f"datagrams {found['datagrams']:.2f} < 1.9")
    peer = results.get("serf lan 30", {}).get("idle")
    return Row(
        name="G9",
        condition="30 idle, lan: datagrams and bytes on the link a second and process",
        asked="2.0 within 5 %; 350 bytes",
        peer="" if peer is None else f"{peer['datagrams']:.2f}; {peer['bytes']:.0f} bytes",
        ours=f"{found['datagrams']:.2f}; {found['bytes']:.0f} bytes",
        misses=limits.misses,
    )


def _cost(results: Results) -> Row:
    found = results["swimring lan 30"]["idle"]
    limits = Limits()
    limits.at_most("processor", found["cpu_percent"], 1.5)
    limits.at_most("memory", found["most_mebibytes"], 40)
    peer = results.get("serf lan 30", {}).get("idle")
    ours = f"{found['cpu_percent']:.2f} %, {found['mebibytes']:.1f} MiB"
    if crowd := results.get("crowd lan 100", {}).get("idle"):
        ours += f"; 100 in one process: {crowd['cpu_percent']:.3f} % and {crowd['mebibytes']:.2f} MiB each"
        limits.at_most("processor, in one process", crowd["cpu_percent"], 0.5)
    return Row(
        name="G10",
        condition="30 idle, lan: processor time and memory of each process",
        asked="1.5 %, 40 MiB; in one process 0.5 % a member",
        peer="" if peer is None else f"{peer['cpu_percent']:.2f} %, {peer['mebibytes']:.1f} MiB",
        ours=ours,
        misses=limits.misses,
    )


def _short_pauses(results: Results) -> Row:
    def said(pauses: dict[str, Any]) -> str:
        return "; ".join(
            f"{seconds} s: not reached by {times(_all(pauses[seconds], 'suspected_by'))}, "
            f"declared dead by {max(_all(pauses[seconds], 'declared_by'))}"
            for seconds in ("1", "3")
        )

    found = results["swimring lan 10"]["pauses"]
    limits = Limits()
    for seconds in ("1", "3"):
        limits.at_most(f"failed probes in {seconds} s", _mean(_all(found[seconds], "suspected_by")), 0)
        limits.at_most(f"failures after {seconds} s", max(_all(found[seconds], "declared_by")), 0)
    peer = results.get("serf lan 10", {}).get("pauses")
    return Row(
        name="G11",
        condition=f"one of 10 stopped for 1 and 3 s, lan; {len(found['1'])} stops of each",
        asked="no suspicion, no failure",
        peer="" if peer is None else said(peer),
        ours=said(found),
        misses=limits.misses,
    )


def _all(pauses: list[dict[str, Any]], name: str) -> list[Any]:
    return [pause[name] for pause in pauses]


def _long_pauses(results: Results) -> Row:
    def said(pauses: dict[str, Any]) -> str:
        return "; ".join(
            f"{seconds} s: declared dead by {one['declared_by']} of {one['others']}, "
            f"back everywhere {_seconds(one['back'])} after SIGCONT, {one['false']} others declared dead"
            for seconds in ("6", "12")
            for one in pauses[seconds]
        )

    found = results["swimring lan 10"]["pauses"]
    limits = Limits()
    for seconds in ("6", "12"):
        (one,) = found[seconds]
        limits.at_most(f"back after {seconds} s", one["back"], 1.0)
        limits.at_most(f"others declared dead after {seconds} s", one["false"], 0)
    if one["declared_by"] < one["others"]:
        limits.misses.append(f"declared dead by {one['declared_by']} of {one['others']} after 12 s")
    peer = results.get("serf lan 10", {}).get("pauses")
    return Row(
        name="G12",
        condition="one of 10 stopped for 6 and 12 s, lan",
        asked="after 12 s all have declared it dead (6 s is what a death takes: chance decides); "
        "back 1 s after SIGCONT; no other is declared dead",
        peer="" if peer is None else said(peer),
        ours=said(found),
        misses=limits.misses,
    )


def _bystanders(results: Results) -> Row:
    found = results["crowd lan 6"]["kills"]
    limits = Limits()
    limits.at_most("worst health score", max(found["health"]), 0)
    peer = results.get("serf lan 6", {}).get("bystanders")
    return Row(
        name="G13",
        condition="one of 6 dies, lan: worst health score of the others",
        asked="0",
        peer="" if peer is None else f"{peer['worst']} ({peer['ill']} of {peer['others']} not 0)",
        ours=f"{max(found['health'])}; 0 in {found['health'].count(0)} of {len(found['health'])}",
        misses=limits.misses,
    )


def _partition(results: Results) -> Row:
    found = results["swimring lan 30"]["partition"]
    limits = Limits()
    limits.at_most("healed", found["healed"], 45)
    if not found["split"]:
        limits.misses.append("the halves did not lose each other")
    limits.at_most("declared dead within a half", found["false"], 0)
    peer = results.get("serf lan 30", {}).get("partition")
    theirs = "" if peer is None else _seconds(peer["healed"])
    ours = _seconds(found["healed"])
    return Row(
        name="G15",
        condition="30 cut in halves for 120 s, lan: all know all after the network is whole again",
        asked="45 s",
        peer=theirs,
        ours=ours,
        misses=limits.misses,
    )


ROWS: Final[tuple[Callable[[Results], Row], ...]] = (
    _detection("G1", "local", 10, "swimring local 10"),
    _detection("G2", "lan", 10, "swimring lan 10"),
    _detection("G3", "lan", 30, "swimring lan 30"),
    _detection("G4", "lan", 100, "crowd lan 100"),
    _join(10, 0.5, "swimring lan 10"),
    _join(30, 1.0, "swimring lan 30"),
    _join(100, 3.0, "crowd lan 100"),
    _update,
    _leave,
    _restart,
    _traffic,
    _cost,
    _short_pauses,
    _long_pauses,
    _bystanders,
    _partition,
)
