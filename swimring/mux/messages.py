"""The body of a request: the fields of the message that are not in the header, as a CBOR map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .header import CallHeader

_ROUTING = ("ns", "cmd", "key")


def encode_fields(fields: Mapping[str, object]) -> bytes:
    """The body for ``fields``.

    Raises:
        LocalProtocolError: a field has no place in CBOR, or is one that the header carries.
    """
    for name in _ROUTING:
        if name in fields:
            raise LocalProtocolError(f"{name!r} belongs into the header of a call, not among its fields")
    return encode(dict(fields))


def decode_fields(header: CallHeader, body: bytes) -> dict[str, Any]:
    """The whole message as the caller wrote it: what the header knows, and the fields.

    Raises:
        RemoteProtocolError: the body is not a map of text to values, or repeats what the header carries.
    """
    fields = decode(body)
    if not isinstance(fields, dict):
        raise RemoteProtocolError("the body of a request is not a map")
    for name in fields:
        if type(name) is not str or name in _ROUTING:
            raise RemoteProtocolError(f"a request has a field {name!r}, which the header carries or nobody can")
    message: dict[str, Any] = {}
    if header.ns:
        message["ns"] = header.ns
    if header.cmd:
        message["cmd"] = header.cmd
    if header.key is not None:
        message["key"] = header.key
    message.update(fields)
    return message
