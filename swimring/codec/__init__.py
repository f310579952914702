"""Objects to bytes and back, bounded; annotations to checkers, compiled, and to JSON Schemas."""

from .cbor import MAX_DEPTH, decode, decode_first, encode
from .checker import Checker, ShapeError, show
from .json_form import json_form
from .records import resolve_hints
from .schemas import DIALECT, JsonSchema, Schemas, mapping
from .shapes import checker, register

__all__ = [
    "DIALECT",
    "MAX_DEPTH",
    "Checker",
    "JsonSchema",
    "Schemas",
    "ShapeError",
    "checker",
    "decode",
    "decode_first",
    "encode",
    "json_form",
    "mapping",
    "register",
    "resolve_hints",
    "show",
]
