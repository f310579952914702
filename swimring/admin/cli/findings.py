"""What the doctor says of what it sees: what it means, and what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.swim import PROFILES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

GOOD: Final = "good"
BAD: Final = "bad"
CLOCKS_MAY_DIFFER: Final = 5.0
"""Seconds between two clocks that are worth a word; sealed gossip is refused beyond minutes."""
PINGS: Final = 5
"""Small pings, and as many as large as a datagram gets."""
LARGEST: Final = max(profile.datagram_budget for profile in PROFILES.values())
"""Bytes of the largest datagram of the gossip."""
_HEADERS: Final = 48
"""Bytes of IPv6 and UDP around a datagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: dns, tcp, cluster, secret, node, udp, mtu, clock or reach.
        subject: the address or the member it is about.
        verdict: good or bad.
        found: what was seen.
        means: what follows from it; empty if nothing does.
        do: what to do; empty if there is nothing.
    """

    check: str
    subject: str
    verdict: str
    found: str
    means: str = ""
    do: str = ""


def reach_findings(
    views: Mapping[str, Mapping[str, str]], missed: Mapping[str, Collection[str]] | None = None
) -> list[Finding]:
    """Who is doubted by another, or does not answer its pings, and answers us: what is broken is the way between them.

    Args:
        views: for each member that answered, the status of every member as it believes it.
        missed: for each member that answered, those that it was asked to ping and that did not answer it.
    """
    missed = missed or {}
    findings = []
    for name, view in sorted(views.items()):
        for other in sorted(view.keys() & views.keys()):
            doubted, silent = view[other] in {"suspect", "dead"}, other in missed.get(name, ())
            if not doubted and not silent:
                continue
            seen = [f"{name} holds {other} for {view[other]}"] * doubted + [
                f"{other} answers no ping of {name}"
            ] * silent
            findings.append(
                Finding(
                    check="reach", subject=f"{name} to {other}", verdict=BAD, found=" and ".join(seen),
                    means=f"{other} answers here, so the way from {name} to {other}, or back, is closed for datagrams",
                    do=f"open UDP and TCP between these two machines in both directions; if {other} was frozen, wait",
                )
            )  # fmt: skip
    return findings


def clock_finding(name: str, ahead: float) -> Finding:
    """What it means that the clock of a member is ``ahead`` of ours by so many seconds."""
    if abs(ahead) <= CLOCKS_MAY_DIFFER:
        return Finding(check="clock", subject=name, verdict=GOOD, found=f"{ahead:+.1f} s from here")
    return Finding(
        check="clock", subject=name, verdict=BAD, found=f"{ahead:+.1f} s from here",
        means="sealed gossip between clocks that are minutes apart is refused, and lives of a name may be mistaken",
        do="let both machines follow a time server (chrony, systemd-timesyncd)",
    )  # fmt: skip


def udp_finding(name: str, heard: int) -> Finding:
    """What it means that so many of the pings were answered."""
    found = f"{heard} of {PINGS} pings answered"
    if heard == PINGS:
        return Finding(check="udp", subject=name, verdict=GOOD, found=found)
    if heard:
        means, do = (
            "datagrams are lost on the way: members will be suspected",
            "look for an overloaded or wireless link",
        )
    else:
        means = "datagrams do not pass: connections hide it, but each node will take the other for dead and back again"
        do = "open the port for UDP as well as TCP, in both directions; look for NAT in between"
    return Finding(check="udp", subject=name, verdict=BAD, found=found, means=means, do=do)


def mtu_findings(name: str, mtu: int | None, *, small: int, large: int) -> list[Finding]:
    """Whether the largest datagram of the gossip fits the way there; nothing if not even small ones do.

    Args:
        name: the member.
        mtu: of the way, as far as the kernel knows it.
        small: pings that were answered.
        large: those that were, of pings as large as a datagram gets.
    """
    needed = LARGEST + _HEADERS
    if not small:
        return []
    if mtu is not None and mtu < needed:
        found, do = f"{mtu} bytes, and a datagram may have {needed}", f"raise the MTU of the way to {needed}"
    elif not large:
        found = f"no ping of {LARGEST} bytes is answered, and {small} of {PINGS} small ones are"
        do = f"raise the MTU of tunnels in between to {needed}, and let ICMP pass, which would have said so"
    else:
        return [Finding(check="mtu", subject=name, verdict=GOOD, found=f"datagrams of {LARGEST} bytes pass")]
    means = "large datagrams are cut in pieces or dropped: news travels slowly, or not at all"
    return [Finding(check="mtu", subject=name, verdict=BAD, found=found, means=means, do=do)]
