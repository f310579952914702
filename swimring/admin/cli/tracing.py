"""``swimring trace``: what is asked of one key while somebody looks, with latencies."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
from cyclopts import Parameter

from swimring.service import Request, Service

from .access import ANY, Access, AsJson, OfService
from .asking import dial
from .lasting import read_seconds
from .output import print_json, print_text
from .plain import on_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swimring.client import Mesh
    from swimring.swim import Member

SUMMED: Final = 100_000
"""Calls that the summary takes into account: the last ones."""

_there: Final = Service("monitoring")


@_there.on("calls", idempotent=True)
async def _calls(request: Request, *, of: str, service: str = "") -> AsyncIterator[dict[str, Any]]:  # noqa: ARG001
    raise NotImplementedError  # it is the owner's own that answers
    yield {}


def trace(
    key: Annotated[str, Parameter(help="The key.")],
    /,
    *,
    duration: Annotated[str, Parameter(name="--for", help="How long, such as 30s or 2m.")] = "30s",
    service: OfService = None,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Print each call for ``key`` that its owner handles in that time, and then what they took."""
    access.check()
    seconds = read_seconds(duration, setting="for")

    async def run() -> None:
        async with dial(access) as mesh:
            owner, cluster = mesh.lookup(key, service), mesh.cluster
        async with dial(access, owner, cluster=cluster) as mesh:
            if not as_json:
                print_text(f"{key} is on {owner.name} at {owner.address}; its calls for {seconds:g} s:")
            seen = await _follow(mesh, key, service or "", seconds, as_json=as_json)
        if not as_json:
            print_text(_summary(seen, owner, seconds))

    anyio.run(run)


async def _follow(mesh: Mesh, key: str, service: str, seconds: float, *, as_json: bool) -> Sequence[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    with anyio.move_on_after(seconds):
        async with mesh.open(_calls, of=key, service=service) as calls:
            async for call in calls:
                seen.append(call)
                del seen[:-SUMMED]
                if as_json:
                    print_json(call)
                else:
                    took = f"{call['seconds'] * 1000:8.2f} ms"
                    said = f"{call['outcome']:<12} {call['service']}:{call['cmd']} from {call['peer']}"
                    print_text(f"{took}  {on_one_line(said)}")
    return seen


def _summary(seen: Sequence[dict[str, Any]], owner: Member, seconds: float) -> str:
    if not seen:
        return f"none on {owner.name} in {seconds:g} s"
    took, missed = sorted(call["seconds"] for call in seen), seen[-1]["missed"]
    good = sum(call["outcome"] == "ok" for call in seen)
    half, most = (1000 * took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
    more = f"; {missed} more were too many to tell" if missed else ""
    return f"{len(seen)} calls, {good} ok; half within {half:.2f} ms, 99 in 100 within {most:.2f} ms{more}"
