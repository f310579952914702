"""Objects to CBOR bytes and back, bounded on both sides (RFC 8949, definite lengths only).

Decoding is for bytes from strangers: any fault is a `RemoteProtocolError`, nothing is allocated on the word of a
length field, map keys are text or bytes, tags are on a short list, trailing bytes are an error. Encoding is for values
of our own users: a value that the other side would refuse is a `LocalProtocolError` before anything is sent.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, NoReturn

import cbor2

from swimring.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH: Final = 32

# Shared references (28, 29) and string references (25, 256) let 195 bytes become 16.8 MB when encoded again; regular
# expressions (35) and MIME messages (36) run parsers nobody asked for.
_REFUSED_TAGS: Final = (5, 25, 28, 29, 30, 35, 36, 52, 54, 100, 256, 260, 261, 1004, 43000, 55799)


def _refuse(_decoder: object, *_rest: object) -> NoReturn:
    raise ValueError("this tag is not on the list")


_SEMANTIC_DECODERS: Final[Mapping[int, Any]] = dict.fromkeys(_REFUSED_TAGS, _refuse)


def encode(value: object) -> bytes:
    """The CBOR bytes of ``value``.

    Raises:
        LocalProtocolError: a part of it has no place in CBOR, is nested deeper than 32, or has map keys other than
            str and bytes.
    """
    _check_depth(value, MAX_DEPTH)
    try:
        return cbor2.dumps(value)
    except (cbor2.CBOREncodeError, ValueError, OverflowError) as error:
        raise LocalProtocolError(f"cannot be encoded: {error}") from error


def decode(data: bytes) -> Any:
    """The one value that ``data`` holds.

    Raises:
        RemoteProtocolError: the bytes are not exactly one well-formed value within the limits.
    """
    source = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(
            source,
            tag_hook=_refuse,
            semantic_decoders=_SEMANTIC_DECODERS,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        ).decode()
    except Exception as error:
        # cbor2 lets errors of its value constructors through (ValueError, OverflowError, RecursionError, ...):
        # whatever it is, these bytes are refused.
        raise RemoteProtocolError(f"malformed CBOR: {error}") from error
    if source.tell() != len(data):
        raise RemoteProtocolError(f"{len(data) - source.tell()} trailing bytes after a CBOR value")
    return value


def _check_depth(value: object, left: int) -> None:
    # The interpreter crashes on a nesting of about 10,000, so depth is counted before cbor2 sees the value.
    if not isinstance(value, (dict, list, tuple, set, frozenset)):
        return
    if left == 0:
        raise LocalProtocolError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, (str, bytes)):
                raise LocalProtocolError(f"map keys are str or bytes, not {type(key).__name__}")
            _check_depth(item, left - 1)
    else:
        for item in value:
            _check_depth(item, left - 1)
