"""One node in a process of its own: what `RealCluster` starts, told on stdin what to be.

It says on stdout when it has joined, drains at SIGTERM, and ends at once when its stdin does: then the test is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

import trio

from swimring.node import open_node
from swimring.swim import Profile

from .importable import Importable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.node import Node
    from swimring.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSetup:
    """What a child is told.

    Attributes:
        services: what it answers.
        beside: what runs beside the node.
        profile: the name of a preset, or all fields of a profile.
        secret: the keys of the cluster in hexadecimal.
        settings: the other arguments of `open_node`.
    """

    services: tuple[Importable, ...]
    beside: Importable | None
    profile: Profile | str
    secret: tuple[str, ...]
    settings: dict[str, Any]

    def to_json(self) -> bytes:
        """One line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """What `to_json` wrote."""
        told = json.loads(line)
        profile = told["profile"]
        return cls(
            services=tuple(Importable(**one) for one in told["services"]),
            beside=None if told["beside"] is None else Importable(**told["beside"]),
            profile=profile if isinstance(profile, str) else Profile(**profile),
            secret=tuple(told["secret"]),
            settings=told["settings"],
        )


def main() -> NoReturn:
    """Be the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test: it ends its children
    told = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the application prints is for people
    setup = ChildSetup.from_json(sys.stdin.buffer.readline())
    services = [one.load() for one in setup.services]
    beside = None if setup.beside is None else setup.beside.load()
    trio.run(_live, setup, services, beside, lambda: told.write(b"joined\n"))
    sys.exit(0)


async def _live(
    setup: ChildSetup,
    services: list[Service],
    beside: Callable[[Node], Awaitable[None]] | None,
    joined: Callable[[], object],
) -> None:
    secret = [bytes.fromhex(key) for key in setup.secret] or None
    with trio.open_signal_receiver(signal.SIGTERM) as farewells:
        async with trio.open_nursery() as watching:
            watching.start_soon(_die_with_the_test)
            async with (
                open_node(*services, profile=setup.profile, secret=secret, **setup.settings) as node,
                trio.open_nursery() as nursery,
            ):
                if beside is not None:
                    nursery.start_soon(beside, node)
                joined()
                async for _ in farewells:
                    break
                nursery.cancel_scope.cancel()
            watching.cancel_scope.cancel()


async def _die_with_the_test() -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        async for _ in stdin:
            pass
    os._exit(1)  # nobody is there any more to whom a farewell would matter
