"""What happened between two views of the members, in the words of the time-line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.admin.turns import turn
from swimring.builtin import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from swimring.swim import Member

_NEWS: Final = {
    "alive": ("join", "is here"),
    "suspect": ("suspect", "does not answer"),
    "dead": ("dead", "is dead"),
    "left": ("left", "said farewell"),
}
_BACK: Final = {"suspect": ("refute", "spoke up: it is alive")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened.

    Attributes:
        kind: join, suspect, refute, dead, left, forgotten, restart, cordon, drain, uncordon, share, update.
        subject: the member it happened to.
        text: what happened, for people.
    """

    kind: str
    subject: str
    text: str


def happened(before: Iterable[Member], after: Iterable[Member]) -> list[Happening]:
    """What makes ``before`` to ``after``, by the names of the members."""
    old, new = ({member.name: member for member in members} for members in (before, after))
    found = [one for name, member in new.items() if old.get(name) != member for one in _changes(old.get(name), member)]
    gone = [Happening(kind="forgotten", subject=name, text=f"{name} is forgotten") for name in sorted(old.keys() - new)]
    return found + gone


def _changes(before: Member | None, member: Member) -> Iterator[Happening]:
    now, was = describe(member), {} if before is None else describe(before)
    status, name = now["status"], member.name
    if status != was.get("status"):
        kind, text = _NEWS[status]
        if status == "alive" and was:
            kind, text = _BACK.get(was["status"], ("join", "is back"))
        yield Happening(kind=kind, subject=name, text=f"{name} {text}")
    elif now["generation"] != was["generation"]:
        yield Happening(kind="restart", subject=name, text=f"{name} was started again")
    if not was or not member.status.active:
        return
    if now["takes"] != was["takes"]:
        kind, text = turn(now["takes"])
        yield Happening(kind=kind, subject=name, text=f"{name} {text}")
    told = [f"{field} {now[field]}" for field in ("address", "weight", "zone", "services") if now[field] != was[field]]
    if told:
        yield Happening(kind="update", subject=name, text=f"{name} has {', '.join(told)} now")
