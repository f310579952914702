"""The routing header of a call: where it goes, how long it may take, what it carries; never what is in the body.

A REQUEST body is a fixed part, then ns, cmd and key as raw bytes, an extension (a CBOR array of what few calls need;
more may follow at its end), and the body. Whoever hands a call on patches the fixed part and forwards the rest. Packed
by hand because it is written for every call, and as one CBOR array that took about three times as long.
"""

from __future__ import annotations

import enum
import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.identity import MAX_KEY_BYTES

from .frames import END, HEADER, Kind
from .limits import MAX_NAME, MAX_STREAM_NAME, MAX_STREAM_NAMES, MAX_STREAMS_PER_CALL

if TYPE_CHECKING:
    from swimring.identity import Key

_FIXED: Final = struct.Struct(">BBBIBBHH")
"""Flags, hops, attempt, remaining milliseconds; lengths of ns, cmd, key and extension."""
_FIXED_SIZE: Final = _FIXED.size
_unpack: Final = _FIXED.unpack_from
_pack_with_frame: Final = struct.Struct(f"{HEADER.format}{_FIXED.format[1:]}").pack
"""The header of a frame, and the fixed part behind it."""
_WHOLE: Final = END << 56
_REQUEST_KIND: Final = Kind.REQUEST

_CAST: Final = 0x01
_IDEMPOTENT: Final = 0x02
_KEY_TEXT: Final = 0x04
_KEY_BYTES: Final = 0x08
_FORWARD: Final = 0x10
_KEY_KIND: Final = _KEY_TEXT | _KEY_BYTES

_NO_DEADLINE: Final = 2**32 - 1
_LONGEST: Final = (_NO_DEADLINE - 1) / 1000
_MAX_TRACEPARENT: Final = 128
_MAX_EXTENSION: Final = 16_000
_WITHOUT_STREAMS: Final = 5 * 1024
"""No header without streams is larger: names, key, trace context, fence."""
_USUAL_TRACEPARENT: Final = 55
"""Characters of one of the present version, which says nothing more than it has to."""
_BEFORE_TRACE: Final = b"\x83\x80\x78" + bytes([_USUAL_TRACEPARENT])
_AFTER_TRACE: Final = b"\x00"
"""What is around such a traceparent in an extension with no streams and no fence."""
_TRACE_SIZE: Final = len(_BEFORE_TRACE) + _USUAL_TRACEPARENT + len(_AFTER_TRACE)


class CallKind(enum.IntEnum):
    """Whether somebody waits for the answer."""

    REQUEST = 0
    CAST = 1


_IS_CAST: Final = CallKind.CAST  # as quick to look up as they are often asked about
_IS_REQUEST: Final = CallKind.REQUEST


# Not frozen, because that would make it three times as dear, and each call makes two; nobody changes one.
@dataclass(slots=True)
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
    forward: bool = False
    """Whether a node that does not own the key shall hand the call on instead of refusing it."""

    def to_bytes(self) -> bytes:
        """The fixed part and what it announces.

        Raises:
            LocalProtocolError: a name, the key or a number is out of bounds.
        """
        flags = (_CAST if self.kind is _IS_CAST else 0) | (_IDEMPOTENT if self.idempotent else 0)
        if self.forward:
            flags |= _FORWARD
        key, key_flag = _raw_key(self.key)
        extension = b""
        if self.streams or self.traceparent is not None or self.fence:
            extension = self.extension()
        try:
            ns, cmd = self.ns.encode(), self.cmd.encode()
            fixed = _FIXED.pack(
                flags | key_flag,
                self.hops,
                self.attempt,
                _milliseconds(self.remaining),
                len(ns),
                len(cmd),
                len(key),
                len(extension),
            )
        except (struct.error, UnicodeEncodeError) as error:
            raise LocalProtocolError(
                f"a header out of bounds (ns, cmd: {MAX_NAME} bytes, hops: 255): {error}"
            ) from error
        return fixed + ns + cmd + key + extension

    def extension(self) -> bytes:
        """What not every call has: names of streams, trace context, fence.

        Raises:
            LocalProtocolError: one of them is out of bounds.
        """
        problem = _problem(self.streams, self.traceparent, self.fence)
        if problem:
            raise LocalProtocolError(problem)
        return encode([list(self.streams), self.traceparent, self.fence])


def header_allowance(streams: int) -> int:
    """The bytes of a header of a call with so many streams, at most."""
    return _WITHOUT_STREAMS + (_MAX_EXTENSION if streams else 0)


def split_request(message: bytes) -> tuple[CallHeader, bytes]:
    """Header and body of a complete request.

    Raises:
        RemoteProtocolError: the header is malformed or breaks a limit.
    """
    if len(message) < _FIXED_SIZE:
        raise RemoteProtocolError("a request without a header")
    flags, hops, attempt, remaining, ns, cmd, key, extension = _unpack(message)
    key_at = _FIXED_SIZE + ns + cmd
    extension_at = key_at + key
    body_at = extension_at + extension
    if body_at > len(message) or key > MAX_KEY_BYTES or extension > _MAX_EXTENSION:
        raise RemoteProtocolError(f"a header of {body_at} bytes in a request of {len(message)}")
    streams, traceparent, fence = _read_extension(message[extension_at:body_at]) if extension else ((), None, 0)
    try:
        names = _read_names(message[_FIXED_SIZE:key_at], ns)
        raw_key = message[key_at:extension_at]
        seconds = math.inf if remaining == _NO_DEADLINE else remaining / 1000
        if flags == _KEY_TEXT and not (hops or attempt or extension):  # as nearly every call is
            return CallHeader(names[0], names[1], raw_key.decode(), _IS_REQUEST, seconds), message[body_at:]
        header = CallHeader(
            ns=names[0],
            cmd=names[1],
            key=raw_key.decode() if flags & _KEY_KIND == _KEY_TEXT else _read_key(flags, raw_key),
            kind=_IS_CAST if flags & _CAST else _IS_REQUEST,
            remaining=seconds,
            idempotent=flags & _IDEMPOTENT != 0,
            streams=streams,
            traceparent=traceparent,
            hops=hops,
            attempt=attempt,
            fence=fence,
            forward=flags & _FORWARD != 0,
        )
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"text in a call header is not UTF-8: {error}") from error
    return header, message[body_at:]


def small_request(
    call_id: int,
    ns: str,
    cmd: str,
    key: Key | None,
    remaining: float,
    body: bytes,
    *,
    idempotent: bool,
    traceparent: str | None = None,
) -> bytes:
    """The whole frame of a first attempt with no streams, as `CallHeader.to_bytes` and `frame` make it.

    Nearly every call is one, so it is packed in one step.

    Raises:
        LocalProtocolError: a name or the key is out of bounds.
    """
    raw_key, flags = _raw_key(key)
    names, ns_size, cmd_size = _raw_names(ns, cmd)
    extension = b"" if traceparent is None else trace_extension(traceparent)
    rest = names + raw_key + extension + body
    return (
        _pack_with_frame(
            _FIXED_SIZE + len(rest) << 8 | _REQUEST_KIND,
            _WHOLE | call_id,
            flags | _IDEMPOTENT if idempotent else flags,
            0,
            0,
            _NO_DEADLINE if remaining >= _LONGEST else ceil(remaining * 1000) if remaining > 0 else 0,
            ns_size,
            cmd_size,
            len(raw_key),
            len(extension),
        )
        + rest
    )


def trace_extension(traceparent: str) -> bytes:
    """The extension of a call with this traceparent, no streams and no fence: nearly always the same but for the ids.

    Raises:
        LocalProtocolError: it is no text, or too long.
    """
    if len(traceparent) == _USUAL_TRACEPARENT and traceparent.isascii():
        return _BEFORE_TRACE + traceparent.encode() + _AFTER_TRACE
    return CallHeader(traceparent=traceparent).extension()


@lru_cache(256)
def _raw_names(ns: str, cmd: str) -> tuple[bytes, int, int]:
    """Both names as they travel, and the length of each: a program has few of them, and asks again and again."""
    try:
        raw_ns, raw_cmd = ns.encode(), cmd.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"ns and cmd of a header are text: {error}") from error
    if len(raw_ns) > MAX_NAME or len(raw_cmd) > MAX_NAME:
        raise LocalProtocolError(f"a header out of bounds (ns, cmd: {MAX_NAME} bytes)")
    return raw_ns + raw_cmd, len(raw_ns), len(raw_cmd)


@lru_cache(256)
def _read_names(raw: bytes, ns: int) -> tuple[str, str]:
    """Both names of a header, the first of which has ``ns`` bytes. What strangers send is at most 130 kB in all."""
    return raw[:ns].decode(), raw[ns:].decode()


def _raw_key(key: Key | None) -> tuple[bytes, int]:
    if key is None:
        return b"", 0
    if isinstance(key, str):
        try:
            raw, flag = key.encode(), _KEY_TEXT
        except UnicodeEncodeError as error:
            raise LocalProtocolError("text with lone surrogates cannot be a key") from error
    elif isinstance(key, bytes):
        raw, flag = key, _KEY_BYTES
    else:
        raise LocalProtocolError("a key is str or bytes")
    if len(raw) > MAX_KEY_BYTES:
        raise LocalProtocolError(f"a key of {len(raw)} bytes; at most {MAX_KEY_BYTES}")
    return raw, flag


def _read_key(flags: int, raw: bytes) -> Key | None:
    kind = flags & _KEY_KIND
    if kind == _KEY_BYTES:
        return raw
    if kind or raw:
        raise RemoteProtocolError(f"impossible flags {flags:#04x} in a call header")
    return None


def _read_extension(data: bytes) -> tuple[tuple[str, ...], str | None, int]:
    if len(data) == _TRACE_SIZE and data.startswith(_BEFORE_TRACE) and data.endswith(_AFTER_TRACE):
        text = data[len(_BEFORE_TRACE) : -1]
        if text.isascii():
            return (), text.decode("ascii"), 0
    match decode(data):
        case [[*streams], (str() | None) as traceparent, int(fence), *_]:
            pass
        case _:
            raise RemoteProtocolError("malformed extension of a call header")
    problem = _problem(streams, traceparent, fence)
    if problem:
        raise RemoteProtocolError(problem)
    return tuple(streams), traceparent, fence


def _problem(streams: Any, traceparent: str | None, fence: int) -> str | None:
    """What is wrong with an extension that came from the wire, or from our own application, which types do not bind."""
    if traceparent is not None and not _is_text(traceparent, _MAX_TRACEPARENT):
        return f"a traceparent is text of at most {_MAX_TRACEPARENT} characters"
    if isinstance(fence, bool) or not 0 <= fence < 2**63:
        return "a fence is a number below 2^63"
    return problem_with_streams(streams)


def problem_with_streams(streams: Any) -> str | None:
    """What is wrong with the names of streams, wherever they come from."""
    if len(streams) > MAX_STREAMS_PER_CALL:
        return f"a call has at most {MAX_STREAMS_PER_CALL} streams"
    if not all(_is_text(name, MAX_STREAM_NAME) and name for name in streams):
        return f"the name of a stream is text of 1 to {MAX_STREAM_NAME} characters"
    if len(set(streams)) != len(streams):
        return "two streams of a call have one name"
    if sum(map(_size_of, streams)) > MAX_STREAM_NAMES:
        return f"the names of a call's streams have at most {MAX_STREAM_NAMES:,} bytes together"
    return None


def _size_of(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _milliseconds(remaining: float) -> int:
    if remaining >= _LONGEST:
        return _NO_DEADLINE
    if remaining <= 0:  # minus infinity, if the caller's scope was cancelled while the call waited for its turn
        return 0
    # Rounded up: the caller's own deadline shall fire first, so that the caller sees what Trio raises.
    return ceil(remaining * 1000)
