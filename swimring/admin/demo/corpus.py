"""The corpus that every Python installation carries: the source files of its standard library."""

from __future__ import annotations

import os
import re
import sysconfig
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = re.compile(rb"[A-Za-z]+")
_SKIPPED = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}


def source_files(limit: int | None = None) -> list[Path]:
    """The ``.py`` files of the standard library (without its tests), sorted, at most ``limit`` of them.

    Raises:
        ConfigError: ``limit`` is less than 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError("files", limit, "at least 1: there is nothing to kill a node in the middle of")
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(_python_files(root))[:limit]


def _python_files(root: Path) -> Iterator[Path]:
    """Those below ``root``; what is skipped is not even looked into, as it is many times as much."""
    for folder, folders, names in os.walk(root):
        folders[:] = set(folders) - _SKIPPED
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def count_words(text: bytes) -> Counter[str]:
    """How often each word occurs; a word is a run of ASCII letters, in lower case."""
    return Counter(word.decode() for word in _WORD.findall(text.lower()))


def count_alone(files: list[Path]) -> Counter[str]:
    """The result to compare with: one process, one loop, no ring."""
    total: Counter[str] = Counter()
    for path in files:
        total.update(count_words(path.read_bytes()))
    return total


def differences(ring: Counter[str], alone: Counter[str]) -> dict[str, tuple[int, int]]:
    """The words that the ring and a single process count differently, with both numbers; empty if they are equal."""
    words = sorted(ring.keys() | alone.keys())
    return {word: (ring[word], alone[word]) for word in words if ring[word] != alone[word]}
