"""What it is called when a member takes no keys any more, hands them over, or takes them again: name and words. Pure."""

from __future__ import annotations

from typing import Final

TURNS: Final = {
    "cordoned": ("cordon", "takes no keys any more"),
    "draining": ("drain", "hands over its keys and leaves"),
    "all": ("uncordon", "takes all its keys"),
}
"""By what a member takes, as `describe` puts it; any other share of its keys is told as that."""
