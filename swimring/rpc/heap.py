"""What the C library does with the memory of chunks that come and go."""

from __future__ import annotations

from functools import cache
from typing import Final

_KEPT: Final = 2 * 1024 * 1024


@cache
def keep_freed_memory() -> None:
    """Have this process keep some megabytes of freed memory; asked for when it first has a byte stream.

    By default glibc hands what is free at the end of the heap back to the kernel from 128 KiB on, and so it does after
    every few chunks of a transfer, to be given fresh pages for the next: a fifth of the receiver's time.
    Once a larger block was freed it keeps twice the size of that. Other C libraries do not mind.
    """
    bytes(_KEPT)
