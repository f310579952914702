"""Objects to bytes and back, bounded; annotations to checkers, compiled."""

from .cbor import MAX_DEPTH, decode, decode_first, encode
from .checker import Checker, ShapeError
from .records import resolve_hints
from .shapes import checker, register

__all__ = [
    "MAX_DEPTH",
    "Checker",
    "ShapeError",
    "checker",
    "decode",
    "decode_first",
    "encode",
    "register",
    "resolve_hints",
]
