"""The command line. `main` is what the ``swimring`` script calls."""

from .entry import main

__all__ = ["main"]
