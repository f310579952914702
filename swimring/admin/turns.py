"""What it is called when a member takes no keys any more, hands them over, or takes them again. Pure."""

from __future__ import annotations

from typing import Final

_TURNS: Final = {
    "cordoned": ("cordon", "takes no keys any more"),
    "draining": ("drain", "hands over its keys and leaves"),
    "all": ("uncordon", "takes all its keys"),
}


def turn(takes: str) -> tuple[str, str]:
    """The kind of event, and what is said of the member that ``takes`` so much now, as `describe` puts it."""
    return _TURNS.get(takes, ("share", f"takes {takes} of its keys"))
