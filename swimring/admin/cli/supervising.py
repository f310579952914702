"""``swimring run --workers N``: N nodes under one process that starts them again and drains them together."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.admin.fleet import Child, Patience, open_fleet
from swimring.admin.http import AUTO, OFF, PORT
from swimring.errors import ConfigError
from swimring.identity import DEFAULT_PORT, Address

from .lines import Lines
from .sources import sources
from .stopping import INTERRUPTED, open_stopping

if TYPE_CHECKING:
    from swimring.admin.fleet import Fleet

    from .stopping import Stopping

MOST: Final = 64
_USAGE: Final = 2
_PORTS: Final = {"listen": DEFAULT_PORT, "advertise": 0, "admin": PORT}
"""The port of an address that says none; 0 is whatever the node listens on."""
_FILES: Final = ("secret-file", "tls-cert")
"""What SIGHUP makes a node read again, besides its file of settings."""


def supervise(target: str, *, workers: int, as_json: bool) -> int:
    """Run ``workers`` nodes until a signal, or until all have left; return the exit status.

    Raises:
        ConfigError: ``workers`` is out of range, or a setting cannot be shared out.
    """
    check_workers(workers)
    settings = {name: setting.value for name, setting in sources.settings.items()}
    said = [] if sources.path is None else ["--config", str(sources.path)]
    commands = {
        f"{number}": [sys.executable, "-m", "swimring", "run", target, "--supervised", *said, *flags]
        for number in range(1, workers + 1)
        for flags in [shared_out(settings, sources.flagged, number)]
    }
    files = sources.path is not None or any(settings.get(name) for name in _FILES)
    return trio.run(_supervise, commands, files, as_json)


def check_workers(workers: int) -> None:
    """Check how many there are to be.

    Raises:
        ConfigError: none, or too many.
    """
    if not 1 <= workers <= MOST:
        raise ConfigError("workers", workers, f"from 1 to {MOST}")


def shared_out(settings: dict[str, Any], flagged: set[str], number: int) -> list[str]:
    """The flags of the worker of that number, from 1: what is one node's own is made different for each.

    Raises:
        ConfigError: an address is none.
    """
    own = {"workers": 1, **_own(settings, number)}
    told = {**{name: settings[name] for name in flagged}, **own}
    return [text for name, value in sorted(told.items()) for text in _flags(name, value)]


def _own(settings: dict[str, Any], number: int) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if settings.get("name"):
        own["name"] = f"{settings['name']}-{number}"
    for name in _PORTS:
        if settings.get(name) not in {None, AUTO, OFF}:
            own[name] = _next_port(name, settings[name], number - 1)
    if settings.get("unix-socket"):
        own["unix-socket"] = f"{settings['unix-socket']}-{number}"
    if settings.get("state"):
        own["state"] = f"{settings['state']}/{number}"
    return own


def _next_port(setting: str, text: str, offset: int) -> str:
    address = Address.parse(text, default_port=_PORTS[setting], setting=setting)
    return str(Address(address.host, address.port + offset)) if address.port else text


def _flags(name: str, value: Any) -> list[str]:
    match value:
        case True:
            return [f"--{name}"]
        case None | False:
            return []
        case tuple() | list():
            return [text for one in value for text in (f"--{name}", str(one))]
        case _:
            return [f"--{name}", str(value)]


async def _supervise(commands: dict[str, list[str]], files: bool, as_json: bool) -> int:  # noqa: FBT001 - trio.run passes no keywords
    lines = Lines(widest=2, as_json=as_json)
    with open_stopping() as stopping:
        async with open_fleet(commands.__getitem__, hear=lines.hear, environment=lines.environment()) as fleet:
            workers = _Workers(fleet, lines, stopping)
            async with trio.open_nursery() as nursery:
                for label in commands:
                    nursery.start_soon(workers.keep, label, name=f"swimring worker {label}")
                if files and hasattr(signal, "SIGHUP"):  # without any a node ends at SIGHUP, and so does its owner
                    nursery.start_soon(workers.reload, name="swimring reload")
                await stopping.asked.wait()
                nursery.cancel_scope.cancel()
            await fleet.drain()
            return workers.status
    return INTERRUPTED


class _Workers:
    """Starts each worker again when it ends, later each time; one that left on purpose stays away."""

    def __init__(self, fleet: Fleet, lines: Lines, stopping: Stopping) -> None:
        self.status = 0
        self._fleet = fleet
        self._lines = lines
        self._stopping = stopping

    async def keep(self, label: str) -> None:
        patience = Patience()
        while True:
            child = await self._fleet.start(label)
            patience.started(now=trio.current_time())
            await child.settled.wait()
            if child.facts is not None:
                self._lines.say_serving(child.facts.name, child, child.facts, watched="watched at")
            await child.ended.wait()
            if child.status == 0 or (child.status == _USAGE and child.facts is None):
                self._stays_away(child)
                return
            pause = patience.ended(now=trio.current_time())
            self._lines.say_ended(
                child, f"worker {label} has ended, status {child.status}: it is started again in {pause:g} s"
            )
            await trio.sleep(pause)

    def _stays_away(self, child: Child) -> None:
        """It was drained, or its settings are wrong, which no second start mends."""
        self._lines.say_ended(child, f"worker {child.label} has ended, status {child.status}")
        self.status = self.status or child.status or 0
        if self.status or not self._fleet.running:
            self._stopping.leave()

    async def reload(self) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                for child in self._fleet.running:
                    child.reload()
