"""``swimring call`` of handlers that answer, yield, or talk over a channel, with files as streams.

What kind a handler is only its node knows: it is called as one that answers once, and, refused for that, as what the
refusal says. Nothing has run then, and little was sent: what was read of stdin is sent again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.lowlevel

from swimring.errors import CallError, ConfigError, InvalidRequest
from swimring.service import Channel, ChannelCall, ChannelEndpoint, Request, Service, StreamingEndpoint, TypedCall

from .output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence

    from swimring.client import Mesh
    from swimring.identity import Key
    from swimring.service import ByteStream, StreamSource

_CHUNK: Final = 64 * 1024
_KEPT: Final = 1024 * 1024
"""Bytes after which a call that was not refused will not be: nobody gives credit for more before a handler reads."""


class Input:
    """Standard input, from its beginning each time it is read, as long as that was at most 1 MiB."""

    def __init__(self, descriptor: int) -> None:
        """Read nothing yet."""
        self._descriptor = descriptor
        self._kept: list[bytes] = []
        self._size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they come, until the end."""
        for chunk in list(self._kept):
            yield chunk
        while chunk := await self._read():
            yield chunk

    async def _read(self) -> bytes:
        try:
            await anyio.wait_readable(self._descriptor)
        except PermissionError:  # of epoll: a plain file, which can always be read
            await anyio.lowlevel.checkpoint()
        chunk = os.read(self._descriptor, _CHUNK)
        self._size += len(chunk)
        if self._size <= _KEPT:
            self._kept.append(chunk)
        else:
            self._kept.clear()
        return chunk


class Files:
    """What the ``--file`` options say."""

    def __init__(self, said: Sequence[str]) -> None:
        """NAME=PATH is a named stream, PATH the items for a handler with a channel; ``-`` is stdin, once.

        Raises:
            ConfigError: a file is not there, or something is said twice.
        """
        self.streams: dict[str, StreamSource] = {}
        self.items: StreamSource = None
        self._stdin_taken = False
        for one in said:
            name, equals, path = one.partition("=")
            if not (equals and name.isidentifier()):
                name, path = "", one
            if name in self.streams or (not name and self.items is not None):
                raise ConfigError("file", one, "each stream, and the items, once")
            source = self._source(path, one)
            if name:
                self.streams[name] = source
            else:
                self.items = source

    def _source(self, path: str, said: str) -> StreamSource:
        if path != "-":
            if not Path(path).is_file():
                raise ConfigError("file", said, "[NAME=]PATH of a file, or - for stdin")
            return Path(path)
        if self._stdin_taken:
            raise ConfigError("file", said, "stdin can be read once")
        self._stdin_taken = True
        return Input(sys.stdin.fileno())


async def talk(
    mesh: Mesh,
    service: str,
    cmd: str,
    fields: Mapping[str, Any],
    *,
    key: Key | None,
    idempotent: bool,
    files: Files,
    as_json: bool,
) -> None:
    """Call a handler of whatever kind and print what comes: items line by line, then a result that says something.

    Raises:
        CallError: the outcome, if it is another.
        Exception: of the handler, as itself.
    """
    endpoints = _Kinds(service, cmd, idempotent=idempotent)
    if files.items is not None:
        kinds: list[Any] = [endpoints.talking]
    else:
        kinds = [endpoints.answering, endpoints.yielding, endpoints.talking]
    while True:
        kind = kinds.pop(0)
        try:
            async with mesh.open(kind.with_streams(**files.streams), key, **fields) as call:
                return await _Conversation(call, files, as_json=as_json).run()
        except InvalidRequest as error:
            if error.maybe_executed:
                raise
            kinds = [one for one in kinds if type(one).way_to_call in str(error)]
            if not kinds:
                raise


class _Kinds:
    """One handler as each of the kinds that it may be."""

    def __init__(self, service: str, cmd: str, *, idempotent: bool) -> None:
        def register(function: Any) -> Any:
            return Service(service).on({"cmd": cmd}, idempotent=idempotent)(function)

        self.answering = register(_answer)
        self.yielding: StreamingEndpoint[..., Any] = register(_yield)
        self.talking: ChannelEndpoint[..., Any, Any, Any] = register(_talk)


async def _answer(_request: Request, /, **_fields: Any) -> Any:
    raise NotImplementedError


async def _yield(_request: Request, /, **_fields: Any) -> AsyncIterator[Any]:
    raise NotImplementedError
    yield


async def _talk(_channel: Channel[Any, Any], /, **_fields: Any) -> Any:
    raise NotImplementedError


class _Conversation:
    """One call under way: what goes out of the files, what comes in to stdout."""

    def __init__(self, call: Any, files: Files, *, as_json: bool) -> None:
        self._call = call
        self._files = files
        self._as_json = as_json
        self._failure: Exception | None = None

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for name in self._files.streams:
                tasks.start_soon(self._beside, tasks.cancel_scope, self._print_bytes, name, self._call.streams[name])
            if isinstance(self._call, ChannelCall):
                tasks.start_soon(self._beside, tasks.cancel_scope, self._send_items)
            try:
                await self._print_answer()
            except Exception as error:  # noqa: BLE001 - whatever the handler raised, bare and not in a group
                self._failure = self._failure or error
                tasks.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def _beside(
        self, everything: anyio.CancelScope, part: Callable[..., Awaitable[None]], *arguments: Any
    ) -> None:
        """What goes on beside the answer; if it fails, the call has."""
        try:
            await part(*arguments)
        except Exception as error:  # noqa: BLE001 - of a file, of a line in it, or of whoever reads our output
            self._failure = self._failure or error
            everything.cancel()

    async def _print_answer(self) -> None:
        if not isinstance(self._call, TypedCall):
            await self._print_items(self._call)
            return
        if isinstance(self._call, ChannelCall):
            await self._print_items(self._call)
        result = await self._call.result()
        if result is not None or not isinstance(self._call, ChannelCall):
            self._print(result)

    async def _print_items(self, items: AsyncIterable[Any]) -> None:
        async for item in items:
            self._print(item)

    def _print(self, value: object) -> None:
        if isinstance(value, str) and not self._as_json:
            print_text(value)
        else:
            print_json(value)

    async def _print_bytes(self, name: str, stream: ByteStream) -> None:
        """What the handler sends back on a named stream goes to stdout as it is; for programs in documents."""
        with suppress(CallError):  # the answer says how
            async for chunk in stream:
                if self._as_json:
                    print_json({"stream": name, "bytes": chunk})
                    continue
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()

    async def _send_items(self) -> None:
        with suppress(CallError):  # the answer says how
            async for item in _json_lines(self._files.items):
                await self._call.send(item)
            await self._call.send_eof()


async def _json_lines(source: StreamSource) -> AsyncIterator[Any]:
    """The objects in a file, one a line.

    Raises:
        ConfigError: a line is no JSON.
    """
    number, rest = 0, b""
    async for chunk in _chunks(source):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in [*lines, rest] if not chunk else lines:
            number += 1
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ConfigError("file", f"line {number}: {line[:40]!r}", "one JSON value a line") from error


async def _chunks(source: StreamSource) -> AsyncIterator[bytes]:
    """What is in a file, and an empty chunk as the end."""
    if isinstance(source, Path):
        yield await anyio.Path(source).read_bytes()
    elif isinstance(source, Input):
        async for chunk in source:
            yield chunk
    yield b""
