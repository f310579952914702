"""``swimring members``, ``lookup`` and ``call``: a client without gossip, on asyncio."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import anyio

from swimring.builtin import describe
from swimring.client import Mesh, connect
from swimring.errors import CallError, ConfigError
from swimring.service import as_told

from .output import print_json, print_table, print_text
from .talking import Files, talk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .access import Access


COLUMNS: Final = ("name", "address", "status", "services", "weight", "takes", "zone")


def members(*, access: Access, as_json: bool) -> None:
    """Print the members."""

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
    key: str,
    *,
    service: str | None,
    replicas: int,
    access: Access,
    as_json: bool,
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
    service: str,
    cmd: str,
    fields: Sequence[str],
    *,
    key: str | None,
    files: Sequence[str],
    idempotent: bool,
    access: Access,
    as_json: bool,
) -> None:
    """Call a handler and print its reply, or its items line by line: text as it is, anything else as JSON."""
    read, sources = read_fields(fields), Files(files)

    async def ask(mesh: Mesh) -> None:
        try:
            await talk(mesh, service, cmd, read, key=key, idempotent=idempotent, files=sources, as_json=as_json)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - of the handler, whatever it is: the line on stderr tells it all
            raise as_told(error) from None

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


def with_mesh(ask: Callable[[Mesh], Awaitable[None]], access: Access, *, endless: bool = False) -> None:
    """Connect and ``ask``; if that is ``endless`` only connecting is bounded.

    Raises:
        CallError: it took longer than ``--within``.
        NotJoined: nobody answers.
    """
    if not access.within > 0:
        raise ConfigError("within", access.within, "a number of seconds above 0")
    secret, tls = access.keys(), access.tls.settings()

    async def run() -> None:
        try:
            with anyio.fail_after(access.within) as scope:
                async with connect(*access.join, cluster=access.cluster, secret=secret, tls=tls) as mesh:
                    if endless:
                        scope.deadline = math.inf
                    await ask(mesh)
        except TimeoutError:
            raise CallError(f"no answer within {access.within:g} s", maybe_executed=True) from None

    anyio.run(run)
