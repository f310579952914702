"""Objects to bytes and back, bounded."""

from .cbor import MAX_DEPTH, decode, encode

__all__ = ["MAX_DEPTH", "decode", "encode"]
