"""``swimring members``, ``lookup`` and ``call``: a client without gossip, on asyncio."""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
from cyclopts import Parameter

from swimring.builtin import describe
from swimring.client import Mesh, connect
from swimring.errors import CallError, ConfigError, NotJoined
from swimring.service import as_told

from .access import ANY, Access, AsJson, OfService
from .output import print_json, print_table, print_text
from .suggesting import service_names
from .talking import Files, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from swimring.swim import Member


ServiceName = Annotated[str, Parameter(help="The service, such as hello.", completer=service_names)]
Handler = Annotated[str, Parameter(help="The handler, such as greet.")]
Fields = Annotated[
    str, Parameter(help="The arguments as NAME=VALUE; a VALUE is read as JSON where it is JSON, else as text.")
]
COLUMNS: Final = ("name", "address", "status", "services", "weight", "takes", "zone")

_FILE: Final = (
    "NAME=PATH sends a file as the byte stream NAME; PATH alone sends its lines, each of JSON, as items to a handler "
    "with a channel. A path of - is stdin. May be repeated."
)


def members(
    *,
    watch: Annotated[bool, Parameter(negative="", help="Show them again whenever one changes, until Ctrl-C.")] = False,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Print the members."""
    if watch:
        from . import watching  # noqa: PLC0415 - it draws, which an answer need not wait for

        watching.watch_members(access=access, as_json=as_json)
        return

    async def ask(mesh: Mesh) -> None:
        known = [describe(member) for member in mesh.members]
        if as_json:
            print_json(known)
        else:
            print_table(COLUMNS, member_rows(known), title=f"cluster {mesh.cluster}")

    with_mesh(ask, access)


def member_rows(known: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row of `COLUMNS` for each member as `describe` puts it."""
    return [
        (
            one["name"], one["address"], one["status"], ", ".join(one["services"]), str(one["weight"]),
            one["takes"], one["zone"],
        )
        for one in known
    ]  # fmt: skip


def lookup(
    key: Annotated[str, Parameter(help="The key.")],
    /,
    *,
    service: OfService = None,
    replicas: Annotated[int, Parameter(help="How many replicas to show.")] = 1,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Print the owner of ``key`` and who would hold its replicas."""

    async def ask(mesh: Mesh) -> None:
        owner = mesh.lookup(key, service)
        others = mesh.replicas(key, replicas, service)
        if as_json:
            print_json({"key": key, "owner": describe(owner), "replicas": [describe(other) for other in others]})
        else:
            also = f" (replicas: {', '.join(other.name for other in others)})" if others else ""
            print_text(f"{owner.name} at {owner.address}{also}")

    with_mesh(ask, access)


def call(
    service: ServiceName,
    cmd: Handler,
    /,
    *fields: Fields,
    key: Annotated[
        str | None, Parameter(help="The key whose owner shall answer. Default: any node that offers the service.")
    ] = None,
    file: Annotated[tuple[str, ...], Parameter(negative="", allow_leading_hyphen=True, help=_FILE)] = (),
    idempotent: Annotated[
        bool, Parameter(negative="", help="Repeat the call if an answer is lost, although it may have run.")
    ] = False,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Call a handler and print its reply, or its items line by line: text as it is, anything else as JSON."""
    read, sources = read_fields(fields), Files(file)

    async def ask(mesh: Mesh) -> None:
        try:
            await talk(mesh, service, cmd, read, key=key, idempotent=idempotent, files=sources, as_json=as_json)
        except (ConfigError, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - of the handler, whatever it is: the line on stderr tells it all
            told = as_told(error)
            if isinstance(told, OSError):  # of the handler it would be another: it is a file of ours
                raise ConfigError("file", told.filename, told.strerror or str(told)) from None
            raise told from None

    with_mesh(ask, access)


def read_fields(fields: Sequence[str]) -> dict[str, Any]:
    """The arguments of a call from NAME=VALUE texts; a VALUE is read as JSON where it is JSON, else it is text.

    Raises:
        ConfigError: one of them has another form, comes twice, or has an option or an argument of its own.
    """
    read: dict[str, Any] = {}
    for field in fields:
        name, equals, text = field.partition("=")
        if not equals or not name:
            raise ConfigError("argument", field, "write NAME=VALUE, such as name=World or excited=true")
        if name in {"ns", "cmd", "key"}:
            raise ConfigError("argument", field, "say the key with --key, service and handler before the arguments")
        if name in read:
            raise ConfigError("argument", field, f"{name} was said before")
        try:
            read[name] = json.loads(text)
        except ValueError:
            read[name] = text
    return read


def with_mesh(
    ask: Callable[[Mesh], Awaitable[None]],
    access: Access,
    *,
    endless: bool = False,
    late: str = "no answer within {:g} s",
) -> None:
    """Connect and ``ask``; if that is ``endless`` only connecting is bounded. ``late`` is said when time is up.

    Raises:
        CallError: it took longer than ``--within``.
        NotJoined: nobody answers.
    """
    access.check()

    async def run() -> None:
        until = math.inf if endless else anyio.current_time() + access.within
        try:
            async with dial(access) as mesh:
                with anyio.fail_after(until - anyio.current_time()):
                    await ask(mesh)
        except TimeoutError:
            raise CallError(late.format(access.within), maybe_executed=True) from None

    anyio.run(run)


@asynccontextmanager
async def dial(access: Access, member: Member | None = None, *, cluster: str | None = None) -> AsyncIterator[Mesh]:
    """Connect to the cluster that is meant, or to that very ``member`` of the one of that name.

    Raises:
        ConfigError: the secret or the certificates cannot be used.
        NotJoined: nobody answers, or not within ``--within``.
    """
    to, connected = access.join if member is None else (member.address,), False
    try:
        with anyio.fail_after(access.within) as scope:
            async with connect(
                *to, cluster=cluster or access.cluster, secret=access.keys(), tls=access.tls.settings()
            ) as mesh:
                scope.deadline, connected = math.inf, True
                yield mesh
    except TimeoutError:
        if connected:  # it is of the block
            raise
        where = ", ".join(map(str, to)) or "this machine"
        raise NotJoined(f"no node answers at {where} within {access.within:g} s: `swimring doctor` says more") from None
