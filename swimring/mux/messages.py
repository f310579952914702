"""A message as the application writes it, taken apart for the wire and put together again.

What routes it (ns, cmd, key) goes into the header of the call; the other fields are the body, a CBOR map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from swimring.codec import decode, encode
from swimring.errors import ConfigError, InvalidRequest, LocalProtocolError, RemoteProtocolError
from swimring.identity import MAX_KEY_BYTES, key_bytes

if TYPE_CHECKING:
    from swimring.identity import Key

    from .header import CallHeader

_ROUTING = frozenset({"ns", "cmd", "key"})
_TEXT = frozenset({str})
_WHAT_A_MESSAGE_IS = "a message is a mapping with text keys"


MessageParts: TypeAlias = "tuple[str, str, Key | None, dict[str, object]]"
"""A message, taken apart: ns, cmd, key, and the other fields."""


def split_message(message: Mapping[str, object]) -> MessageParts:
    """What routes ``message``, and its other fields.

    Raises:
        InvalidRequest: it is no mapping with text keys, or its ns, cmd or key is of the wrong kind.
    """
    if type(message) is not dict and not isinstance(message, Mapping):
        raise InvalidRequest(_WHAT_A_MESSAGE_IS)
    if not _TEXT.issuperset(map(type, message)):
        raise InvalidRequest(_WHAT_A_MESSAGE_IS)
    fields: dict[str, Any] = dict(message)
    ns, cmd, key = fields.pop("ns", ""), fields.pop("cmd", ""), fields.pop("key", None)
    if not (isinstance(ns, str) and isinstance(cmd, str)):
        raise InvalidRequest("ns and cmd of a message are text")
    if key is not None and not (type(key) is str and key.isascii() and len(key) <= MAX_KEY_BYTES):
        key = _checked_key(key)  # of nearly every message the line above says enough
    return ns, cmd, key, fields


def join_message(ns: str, cmd: str, key: Key | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The whole message: what routes it, as far as it is set, and its other fields."""
    message: dict[str, Any] = {}
    if ns:
        message["ns"] = ns
    if cmd:
        message["cmd"] = cmd
    if key is not None:
        message["key"] = key
    message.update(fields)
    return message


def encode_fields(fields: Mapping[str, object]) -> bytes:
    """The body for ``fields``.

    Raises:
        LocalProtocolError: a field has no place in CBOR, or is one that the header carries.
    """
    if not _ROUTING.isdisjoint(fields):
        name = min(_ROUTING & fields.keys())
        raise LocalProtocolError(f"{name!r} belongs into the header of a call, not among its fields")
    return encode(fields if type(fields) is dict else dict(fields))


def decode_fields(header: CallHeader, body: bytes) -> dict[str, Any]:
    """The whole message as the caller wrote it: what the header knows, and the fields.

    Raises:
        RemoteProtocolError: the body is not a map of text to values, or repeats what the header carries.
    """
    fields = decode(body)
    if not isinstance(fields, dict):
        raise RemoteProtocolError("the body of a request is not a map")
    if not (_TEXT.issuperset(map(type, fields)) and _ROUTING.isdisjoint(fields)):
        name = next(name for name in fields if type(name) is not str or name in _ROUTING)
        raise RemoteProtocolError(f"a request has a field {name!r}, which the header carries or nobody can")
    ns, cmd, key = header.ns, header.cmd, header.key
    if ns and cmd and key is not None:  # as nearly every message has
        return {"ns": ns, "cmd": cmd, "key": key, **fields}
    return join_message(ns, cmd, key, fields)


def _checked_key(key: object) -> Key:
    if not isinstance(key, (str, bytes)):
        raise InvalidRequest(f"the key of a message is str or bytes, not {type(key).__name__}")
    try:
        key_bytes(key)
    except ConfigError as error:
        raise InvalidRequest(str(error)) from None
    return key
