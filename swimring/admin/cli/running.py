"""``swimring run``: one node until a signal says otherwise."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Unpack

import trio
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from swimring.errors import ConfigError
from swimring.node import open_node

from .reloading import open_reloading
from .stopping import INTERRUPTED, open_stopping

if TYPE_CHECKING:
    from swimring.node import Node, NodeSettings
    from swimring.service import Service

_LEVELS = ("debug", "info", "warning", "error")


def run(services: tuple[Service, ...], *, log_level: str, **settings: Unpack[NodeSettings]) -> int:
    """Run a node that offers ``services``; return the exit status.

    Raises:
        ConfigError: a setting is wrong, or the address cannot be bound.
        NameConflict: another process runs under this name with a newer generation.
    """
    _set_up_logging(log_level)
    try:
        return trio.run(_serve_until_told, services, settings)
    except OSError as error:
        raise ConfigError("listen", settings.get("listen"), error.strerror or str(error)) from error


async def _serve_until_told(services: tuple[Service, ...], settings: NodeSettings) -> int:
    # Signals are received before the node opens, so that a Ctrl-C while it joins, or waits for others, leaves as
    # gracefully as a later one.
    files = settings.get("secret_file") is not None or settings.get("tls") is not None
    with open_stopping() as stopping, stopping.opening, open_reloading(files=files) as reloading:
        async with open_node(*services, **settings) as node, trio.open_nursery() as nursery:
            stopping.opened()
            nursery.start_soon(reloading.run, node, name="swimring reload")
            _say(f"{node.name} in cluster {node.cluster} at {node.me.address}, process {os.getpid()}, {_company(node)}")
            await stopping.asked.wait()
            _say(f"{node.name} leaves; a second Ctrl-C or SIGTERM stops it at once")
            nursery.cancel_scope.cancel()
    return INTERRUPTED if stopping.hurried else 0


def _company(node: Node) -> str:
    others = [member.name for member in node.members if member.name != node.name and member.status.active]
    return f"with {', '.join(others)}" if others else "nobody else is here yet"


def _say(text: str) -> None:
    """A line for people, on stderr as the log is; unbroken, so that programs can read it too."""
    Console(stderr=True).print(Text(text), soft_wrap=True)


def _set_up_logging(level: str) -> None:
    if level not in _LEVELS:
        raise ConfigError("log-level", level, f"use one of: {', '.join(_LEVELS)}")
    console = Console(stderr=True)
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False)
        pattern = "%(message)s"
    else:
        handler = logging.StreamHandler()
        pattern = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=level.upper(), format=pattern, handlers=[handler])
