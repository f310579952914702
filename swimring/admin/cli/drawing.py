"""A ring as people see it in a terminal: who has which share, and the circle unrolled to a strip. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from swimring.ring import CIRCLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.ring import HashRing

COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta")
_MARKS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BAR: Final = 30


def describe_ring(ring: HashRing, *, service: str) -> dict[str, Any]:
    """The ring for programs; positions are texts, because they have 64 bits."""
    share = ring.share()
    return {
        "service": service,
        "version": ring.version,
        "points": ring.points,
        "nodes": [{"name": name, "weight": weight, "share": share[name]} for name, weight in ring.nodes.items()],
        "arcs": [[str(start), str(end), owner] for start, end, owner in ring.ranges()],
    }


def marks(ring: HashRing) -> dict[str, str]:
    """A letter for each node, in the order of their names; from the 53rd on they repeat."""
    return {name: _MARKS[number % len(_MARKS)] for number, name in enumerate(sorted(ring.nodes))}


def share_rows(ring: HashRing) -> list[tuple[str, ...]]:
    """For each node its letter, name, weight, share and a bar; a full bar is the largest share."""
    share, letters = ring.share(), marks(ring)
    largest = max(share.values(), default=1.0)
    return [
        (letters[name], name, f"{ring.nodes[name]:g}", f"{share[name]:.1%}", "█" * round(_BAR * share[name] / largest))
        for name in sorted(ring.nodes)
    ]


def strip(ring: HashRing, *, width: int) -> str:
    """The circle from its first position to its last in ``width`` letters: who owns the middle of each piece."""
    letters = marks(ring)
    owners = (ring.owner_at((2 * cell + 1) * CIRCLE // (2 * width)) for cell in range(width))
    return "".join(" " if owner is None else letters[owner] for owner in owners)


def coloured(letters: str, colours: Mapping[str, str]) -> Text:
    """A strip in the colours of its letters."""
    text = Text()
    for letter, run in groupby(letters):
        text.append("".join(run), style=colours.get(letter, ""))
    return text
