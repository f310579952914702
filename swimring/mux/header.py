"""The routing header of a call: where it goes, how long it may take, what it carries; never what is in the body.

A REQUEST body is a fixed part (header length 2, remaining milliseconds 4, hops 1, attempt 1), the header as a CBOR
array, and the body. What changes on the way is in the fixed part: an intermediary patches it and forwards the rest.
"""

from __future__ import annotations

import enum
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swimring.codec import decode, encode
from swimring.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from swimring.identity import key_bytes

from .limits import MAX_HEADER_BYTES, MAX_NAME, MAX_STREAM_NAME, MAX_STREAMS_PER_CALL

if TYPE_CHECKING:
    from swimring.identity import Key

_FIXED: Final = struct.Struct(">HIBB")
_NO_DEADLINE: Final = 2**32 - 1
_MAX_TRACEPARENT: Final = 128
_DEFAULTS: Final[list[Any]] = [False, [], None, 0]


class CallKind(enum.IntEnum):
    """Whether somebody waits for the answer."""

    REQUEST = 0
    CAST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHeader:
    """Everything about a call but its fields."""

    ns: str = ""
    cmd: str = ""
    key: Key | None = None
    kind: CallKind = CallKind.REQUEST
    remaining: float = math.inf
    """Seconds until the caller's deadline when the request was sent; `math.inf` without one."""
    idempotent: bool = False
    streams: tuple[str, ...] = ()
    """Names of the byte streams; they get the ids that follow the call's."""
    traceparent: str | None = None
    """W3C trace context."""
    hops: int = 0
    """Nodes that handed the call on."""
    attempt: int = 0
    """Attempts before this one."""
    fence: int = 0
    """Fence of the owner the caller believed in; 0 is none."""

    def to_bytes(self) -> bytes:
        """The fixed part and the CBOR array, defaults at the end left out.

        Raises:
            LocalProtocolError: the header breaks a limit of `check`.
        """
        problem = _problem(self)
        if problem:
            raise LocalProtocolError(problem)
        array: list[object] = [int(self.kind), self.ns, self.cmd, self.key]
        if self.idempotent or self.streams or self.traceparent is not None or self.fence:
            array += [self.idempotent, list(self.streams), self.traceparent, self.fence]
        packed = encode(array)
        if len(packed) > MAX_HEADER_BYTES:
            raise LocalProtocolError(f"a call header of {len(packed)} bytes; at most {MAX_HEADER_BYTES}")
        return _FIXED.pack(len(packed), _milliseconds(self.remaining), self.hops, self.attempt) + packed


def split_request(message: bytes) -> tuple[CallHeader, bytes]:
    """Header and body of a complete request.

    Raises:
        RemoteProtocolError: the header is malformed or breaks a limit.
    """
    if len(message) < _FIXED.size:
        raise RemoteProtocolError("a request without a header")
    length, remaining, hops, attempt = _FIXED.unpack_from(message)
    body_at = _FIXED.size + length
    if length > MAX_HEADER_BYTES or body_at > len(message):
        raise RemoteProtocolError(f"a call header of {length} bytes in a request of {len(message)}")
    fields = decode(message[_FIXED.size : body_at])
    seconds = math.inf if remaining == _NO_DEADLINE else remaining / 1000
    return _header(fields, seconds, hops, attempt), message[body_at:]


def _header(fields: Any, remaining: float, hops: int, attempt: int) -> CallHeader:
    if not isinstance(fields, list) or len(fields) < 4:
        raise RemoteProtocolError("malformed call header")
    kind, ns, cmd, key = fields[:4]
    idempotent, streams, traceparent, fence = fields[4:8] + _DEFAULTS[len(fields[4:8]) :]
    if kind not in (0, 1) or not isinstance(streams, list):
        raise RemoteProtocolError("malformed call header")
    header = CallHeader(
        ns=ns,
        cmd=cmd,
        key=key,
        kind=CallKind(kind),
        remaining=remaining,
        idempotent=idempotent,
        streams=tuple(streams),
        traceparent=traceparent,
        hops=hops,
        attempt=attempt,
        fence=fence,
    )
    problem = _problem(header)
    if problem:
        raise RemoteProtocolError(problem)
    return header


def _problem(header: CallHeader) -> str | None:
    """What is wrong with a header that came from the wire, or from our own application, which types do not bind."""
    if not (_is_text(header.ns, MAX_NAME) and _is_text(header.cmd, MAX_NAME)):
        return f"ns and cmd are text of at most {MAX_NAME} characters"
    if header.key is not None:
        try:
            key_bytes(header.key)
        except ConfigError as error:
            return str(error)
    if header.traceparent is not None and not _is_text(header.traceparent, _MAX_TRACEPARENT):
        return f"a traceparent is text of at most {_MAX_TRACEPARENT} characters"
    if not _is_flag(header.idempotent) or not _is_number(header.fence):
        return "idempotent is a truth value and a fence a number below 2^63"
    if not (0 <= header.hops <= 255 and 0 <= header.attempt <= 255):
        return "hops and attempt are numbers up to 255"
    return _streams_problem(header.streams)


def _streams_problem(streams: tuple[str, ...]) -> str | None:
    if not streams:
        return None
    if len(streams) > MAX_STREAMS_PER_CALL:
        return f"a call has at most {MAX_STREAMS_PER_CALL} streams"
    if not all(_is_text(name, MAX_STREAM_NAME) and name for name in streams):
        return f"the name of a stream is text of 1 to {MAX_STREAM_NAME} characters"
    if len(set(streams)) != len(streams):
        return "two streams of a call have one name"
    return None


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _milliseconds(remaining: float) -> int:
    if remaining >= (_NO_DEADLINE - 1) / 1000:
        return _NO_DEADLINE
    # Rounded up: the caller's own deadline shall fire first, so that the caller sees what Trio raises.
    return max(0, math.ceil(remaining * 1000))
