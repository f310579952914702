"""A byte stream to an address: TCP, TLS over it, or a Unix socket; and what went wrong, for a person."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from swimring.certificates import tls_failure

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from swimring.certificates import Certificates
    from swimring.identity import Address

BROKEN: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a stream raises that does not work any more."""


async def reach(address: Address, certificates: Certificates | None) -> ByteStream:
    """Connect; with ``certificates`` over TLS, except to a Unix socket.

    Raises:
        OSError: nobody is there, or one of the two does not accept the other's certificate.
        anyio.EndOfStream: it hung up during the handshake.
    """
    if address.path is not None:
        return await anyio.connect_unix(address.path)
    try:
        stream = await anyio.connect_tcp(address.host, address.port)
    except UnicodeError as error:  # of a name that DNS cannot have; a member may claim to be there
        raise socket.gaierror(socket.EAI_NONAME, "no such host") from error
    # Small frames must not wait for the answer to the one before (Nagle); only asyncio sees to that by itself.
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - nothing of Django
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if certificates is None:
        return stream
    context, name = certificates.for_dialling(address.host)
    try:
        # The session itself says where everything ends: an end without TLS's own farewell is an end.
        return await TLSStream.wrap(
            stream, server_side=False, hostname=name, ssl_context=context, standard_compatible=False
        )
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def text_of(error: BaseException) -> str:
    """What happened: the cause, where anyio only says that all attempts failed."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    match cause:
        case TimeoutError():
            return "no answer in time"
        case socket.gaierror():
            return "no such host"
        case ssl.SSLError():
            return tls_failure(cause)
        case anyio.EndOfStream():
            return "it hung up"
        case OSError(errno=int(number)) if number:
            return os.strerror(number).lower()
        case _:
            return str(cause) or type(cause).__name__
