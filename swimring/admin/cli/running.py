"""``swimring run``: one node until a signal says otherwise."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Annotated, Any

import trio
from cyclopts import Parameter
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from swimring.admin.fleet import open_supervision
from swimring.admin.http import Stage, open_admin, open_site
from swimring.admin.loading import load_services
from swimring.errors import ConfigError
from swimring.node import open_node
from swimring.observe import set_up_logging

from .access import AsJson, Target
from .node_options import LOOPBACK, QUIETLY, NodeOptions, WatchOptions
from .output import print_json
from .reloading import open_reloading
from .sources import sources
from .stopping import INTERRUPTED, Stopping, open_stopping

if TYPE_CHECKING:
    from swimring.node import Node, NodeSettings
    from swimring.service import Service


def run(
    target: Target,
    /,
    *,
    options: NodeOptions = LOOPBACK,
    watching: WatchOptions = QUIETLY,
    supervised: Annotated[bool, Parameter(show=False, negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Run a node, or several; return the exit status. ``supervised`` by the process on its stdin.

    Raises:
        ConfigError: a setting is wrong, or an address cannot be bound.
        NameConflict: another process runs under this name with a newer generation.
    """
    if options.workers != 1:
        from . import supervising  # noqa: PLC0415 - one node needs none of it

        return supervising.supervise(target, workers=options.workers, as_json=as_json)
    services, settings = load_services(target), options.settings()
    human = RichHandler(console=Console(stderr=True), show_path=False)
    human.setFormatter(logging.Formatter("%(message)s"))  # else the level and the logger are said twice
    facts = {fact: said for fact, said in (("cluster", options.cluster), ("node", options.name)) if said is not None}
    set_up_logging(watching.log_level, form=watching.log_format, facts=facts, human=human)
    try:
        return trio.run(_serve_until_told, services, watching, settings, supervised, as_json, facts)
    except OSError as error:
        raise ConfigError("listen", settings.get("listen"), error.strerror or str(error)) from error


async def _serve_until_told(
    services: tuple[Service, ...],
    watching: WatchOptions,
    settings: NodeSettings,
    supervised: bool,  # noqa: FBT001 - trio.run passes no keywords
    as_json: bool,  # noqa: FBT001 - the same
    facts: dict[str, str],
) -> int:
    # Signals are received before the node opens, so that a Ctrl-C while it joins, or waits for others, leaves as
    # gracefully as a later one. The admin port answers before that, too: it says that the node is starting.
    files = settings.get("secret_file") is not None or settings.get("tls") is not None
    site = open_site(write=watching.admin_write, token_file=watching.admin_token_file)
    with open_stopping() as stopping, stopping.opening, open_reloading(sources, files=files) as reloading:
        async with (
            open_supervision(supervised=supervised, leave=stopping.leave) as owner,
            open_admin(watching.admin, site) as url,
            open_node(*services, instruments=site.instruments, **settings) as node,
            trio.open_nursery() as nursery,
        ):
            stopping.opened()
            facts.update(cluster=node.cluster, node=node.name)  # by default they are known only now
            site.show(node)
            nursery.start_soon(site.follow, node, name="swimring time-line")
            nursery.start_soon(reloading.run, node, name="swimring reload")
            if not supervised:  # else the owner says it for all of them
                _say_serving(node, url, as_json=as_json)
            await owner.tell_serving(name=node.name, address=str(node.me.address), url=url)
            nursery.start_soon(_leave_when_drained, node, stopping, name="swimring drain")
            await stopping.asked.wait()
            site.health.reached(Stage.LEAVING)
            _say(f"{node.name} leaves; a second Ctrl-C or SIGTERM stops it at once")
            if as_json:
                print_json({"event": "leaves", "name": node.name})
            nursery.cancel_scope.cancel()
    return INTERRUPTED if stopping.hurried else 0


async def _leave_when_drained(node: Node, stopping: Stopping) -> None:
    await node.wait_drain_asked()
    stopping.leave()


def _say_serving(node: Node, url: str | None, *, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {"name": node.name, "cluster": node.cluster, "address": str(node.me.address)}
        print_json({"event": "serves", **facts, "url": url, "pid": os.getpid(), "with": _others(node)})
    _say(f"{node.name} in cluster {node.cluster} at {node.me.address}, process {os.getpid()}, {_company(node)}")
    if url is not None:
        _say(f"{node.name} can be watched at {url}")


def _company(node: Node) -> str:
    others = _others(node)
    return f"with {', '.join(others)}" if others else "nobody else is here yet"


def _others(node: Node) -> list[str]:
    return [member.name for member in node.members if member.name != node.name and member.status.active]


def _say(text: str) -> None:
    """A line for people, on stderr as the log is; unbroken, so that programs can read it too."""
    Console(stderr=True).print(Text(text), soft_wrap=True)
