"""``swimring drain``, ``cordon``, ``uncordon`` and ``evict``: what an operator tells one node, or another about it."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from swimring.builtin import NAMESPACE
from swimring.errors import CallError, ConfigError, ConnectionLost, NotJoined, Unreachable
from swimring.service import Request, Service
from swimring.swim import Status

from .access import ANY, Access, AsJson, MemberName
from .asking import dial, with_mesh
from .output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.client import Mesh
    from swimring.swim import Member

_afar: Final = Service(NAMESPACE)


@_afar.on("drain", idempotent=True)
async def _drain(request: Request) -> AsyncIterator[dict[str, int]]:  # noqa: ARG001
    raise NotImplementedError  # it is the node's own that answers
    yield {}


def cordon(node: MemberName, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Have the node ``node`` take no keys."""
    _tell(node, "cordon", f"{node} takes no keys any more. Undo it with: swimring uncordon {node}", access, as_json)


def uncordon(node: MemberName, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Have the node ``node`` take keys again."""
    _tell(node, "uncordon", f"{node} takes keys again", access, as_json)


def evict(node: MemberName, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Have another node declare ``node`` dead; the first that can be reached."""

    async def ask(cluster: _Cluster) -> None:
        member = cluster.member(node)
        for other in cluster.active:
            if other.name == node:
                continue
            try:
                async with cluster.at(other) as mesh:
                    await mesh.request({"ns": NAMESPACE, "cmd": "evict", "name": node}, idempotent=True)
                    gone = await mesh.wait_gone(node)
            except (Unreachable, NotJoined, ConnectionLost):
                continue
            status = "dead" if gone is None else gone.status.word
            if as_json:
                print_json({"name": node, "address": str(member.address), "status": status, "told": other.name})
            else:
                print_text(f"{node} is {status}, by the word of {other.name}; restart its process to bring it back")
            return
        raise NotJoined(f"no other member can be reached that could declare {node} dead")

    _with_cluster(ask, access)


def drain(node: MemberName, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Have the node ``node`` hand over its keys and leave; show how far it is."""

    async def ask(cluster: _Cluster) -> None:
        began, member = anyio.current_time(), cluster.member(node)
        with _Bar(node) as bar:
            done = False
            try:
                async with cluster.at(member) as mesh, mesh.open(_drain) as moving:
                    async for hand_off in moving:
                        bar.show(hand_off)
                done = True
            except ConnectionLost:
                pass  # it has left before it could say so, or died: the others know
            status = farewell(node, await cluster.mesh.wait_gone(node), done=done)
        seconds = round(anyio.current_time() - began, 3)
        if as_json:
            print_json({"name": node, "status": status, "keys": bar.total, "seconds": seconds})
        else:
            print_text(f"{node} has {status} after {seconds:g} s; keys with state handed over: {bar.total}")

    _with_cluster(ask, access)


def farewell(name: str, gone: Member | None, *, done: bool) -> str:
    """The status of a member that drained and is gone, or forgotten since; ``done``: it said that it had drained.

    Raises:
        CallError: it did not leave, it died.
    """
    if not done and gone is not None and gone.status is Status.DEAD:
        raise CallError(
            f"{name} died while it drained: what it had not handed over is what its replicas have", maybe_executed=True
        )
    return Status.LEFT.word


class _Bar:
    """Keys left, as a bar in a terminal and nowhere else."""

    def __init__(self, name: str) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("keys handed over"))
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(f"draining {name}", total=None)
        self.total = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, hand_off: dict[str, int]) -> None:
        self.total = hand_off["total"]
        self._progress.update(self._task, total=self.total or None, completed=self.total - hand_off["left"])


class _Cluster:
    """A cluster as one of its nodes knows it, and how to talk to each of the others directly."""

    def __init__(self, mesh: Mesh, access: Access) -> None:
        self.mesh = mesh
        self._access = access

    @property
    def active(self) -> list[Member]:
        return [member for member in self.mesh.members if member.status.active]

    def member(self, name: str) -> Member:
        """The member of that name.

        Raises:
            ConfigError: there is none that takes part; the text says who does.
        """
        found = next((member for member in self.active if member.name == name), None)
        if found is None:
            names = ", ".join(member.name for member in self.active)
            raise ConfigError("node", name, f"name one that takes part in cluster {self.mesh.cluster}: {names}")
        return found

    @asynccontextmanager
    async def at(self, member: Member) -> AsyncIterator[Mesh]:
        """A connection to that very member.

        Raises:
            NotJoined: it does not answer there.
        """
        try:
            async with dial(self._access, member, cluster=self.mesh.cluster) as mesh:
                yield mesh
        except NotJoined as error:
            raise NotJoined(
                f"{member.name} does not answer at {member.address}; if it cannot serve either: "
                f"swimring evict {member.name}"
            ) from error


def _tell(name: str, cmd: str, said: str, access: Access, as_json: bool) -> None:  # noqa: FBT001 - the caller's own
    async def ask(cluster: _Cluster) -> None:
        async with cluster.at(cluster.member(name)) as mesh:
            member: dict[str, Any] = await mesh.request({"ns": NAMESPACE, "cmd": cmd}, idempotent=True)
        if member["name"] != name:
            raise CallError(f"{member['name']} has taken the place of {name} at {member['address']}: nothing is known")
        if as_json:
            print_json(member)
        else:
            print_text(said)

    _with_cluster(ask, access)


def _with_cluster(ask: Callable[[_Cluster], Awaitable[None]], access: Access) -> None:
    with_mesh(
        lambda mesh: ask(_Cluster(mesh, access)),
        access,
        late="not done within {:g} s; what was asked goes on (--within waits longer)",
    )
