"""The demo: the whole mission once, on real input, with a node killed half way."""

from .driver import run_demo

__all__ = ["run_demo"]
