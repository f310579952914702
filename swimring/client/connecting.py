"""From some addresses, or none, to a mesh: who answers there, and which cluster is meant."""

from __future__ import annotations

import math
import random
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from swimring.certificates import Certificates
from swimring.errors import CallError, ConfigError, NotJoined
from swimring.identity import DEFAULT_PORT, Address, NodeId, check_name
from swimring.instrument import Instruments
from swimring.mux import Limits
from swimring.security import key_id, secret_keys

from .directory import Directory
from .following import Follower, ask_state
from .link import SecretRefused
from .links import Links
from .mesh import Mesh
from .routing import Routing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from swimring.certificates import TlsSettings
    from swimring.instrument import Instrument

    from .link import Link
    from .news import ClusterState

SCANNED: Final = tuple(Address("127.0.0.1", DEFAULT_PORT + offset) for offset in range(20))
"""Where nodes without configuration are: the loopback ports 7979 to 7998."""
SCAN_WITHIN: Final = 1.0
"""Seconds that a scanned port has to answer as a node."""


@asynccontextmanager
async def connect(
    *addresses: str | Address,
    cluster: str | None = None,
    secret: bytes | str | Sequence[bytes] | None = None,
    tls: TlsSettings | None = None,
    forward: bool = False,
    limits: Limits | None = None,
    instruments: Sequence[Instrument] = (),
) -> AsyncIterator[Mesh]:
    """Talk to a cluster from outside while the block runs.

    Args:
        addresses: HOST:PORT of some of its nodes, or ``unix:/PATH`` of one on this machine, all tried at once; default:
            the loopback ports 7979 to 7998.
        cluster: its name; needed only if nodes of several clusters are found on this machine.
        secret: the key of a cluster that has one, or several; or their text, as in a secret file. It proves both sides
            to each other and hides nothing: that needs TLS.
        tls: this client's certificate, and the authority of the cluster's.
        forward: have the node that answered hand calls on to the owners of their keys, for a client that can reach no
            other one; what has streams goes to the owner itself all the same.
        limits: sizes, counts and patience of its connections.
        instruments: observers of the calls made here, such as `swimring.observe.tracing.Tracing`.

    Raises:
        ConfigError: this is no address, name, key or certificate, the cluster that is meant is not clear, or the
            secret is refused.
        NotJoined: nobody answers; the text says what to do.
    """
    seeds = tuple(address if isinstance(address, Address) else Address.parse_or_unix(address) for address in addresses)
    wanted = None if cluster is None else check_name(cluster, setting="cluster")
    me, limits = NodeId(f"client-{secrets.token_hex(4)}", 0), limits or Limits()
    rng = random.Random()  # noqa: S311 - jitter only
    keys, certificates = secret_keys(secret), None if tls is None else Certificates(tls)
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        links = Links(tasks, me=me, limits=limits, rng=rng, keys=keys, certificates=certificates)
        try:
            link, state = await _find(links, seeds, wanted)
            links.settle_on(state.cluster)
            links.adopt(link)
            directory = Directory(state)
            follower = Follower(directory, links, tasks, seeds=seeds, rng=rng)
            tasks.start_soon(follower.run)
            routing = Routing(
                directory,
                links,
                follower,
                home=link.peer.name,
                rng=rng,
                forward=forward,
                instruments=Instruments(instruments),
            )
            yield Mesh(directory, links, routing)
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - raised below
            # Raised in here, it would leave the task group wrapped into an exception group.
            failure = error
        else:
            # A cast that is still in our buffers would be lost with them.
            with anyio.move_on_after(limits.cancel_grace):
                await follower.stop()
                await links.wait_idle()
        finally:
            links.close()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A node that answered."""

    link: Link
    state: ClusterState


async def _find(links: Links, seeds: Sequence[Address], cluster: str | None) -> tuple[Link, ClusterState]:
    """A connection to a node of the cluster that is meant, and what it knows; other connections are closed.

    Raises:
        ConfigError: several clusters answer, or another one than ``cluster``.
        NotJoined: nobody answers.
    """
    search = _Search(links, cluster, thorough=not seeds and cluster is None)
    await search.run(seeds or SCANNED, within=math.inf if seeds else SCAN_WITHIN)
    there = sorted({node.state.cluster for node in search.found})
    if not there and search.secret_refused:
        found = ", ".join(f"key {key_id(key).hex()}" for key in links.keys) or None
        raise ConfigError("secret", found, f"the node that answers does not take that: {search.secret_refused}")
    if not there:
        raise NotJoined(_nobody(seeds, search.silent))
    if cluster is not None and cluster not in there:
        raise ConfigError("cluster", cluster, f"the nodes that answer belong to: {', '.join(there)}")
    if cluster is None and len(there) > 1:
        raise ConfigError("cluster", None, f"several answer, name one of: {', '.join(there)}")
    home = next(node for node in search.found if cluster in (None, node.state.cluster))
    for node in search.found:
        if node is not home:
            node.link.close("not needed")
    return home.link, home.state


class _Search:
    """Asks addresses all at once. Unless it is ``thorough``, the first node of ``cluster`` (None: of any) ends it."""

    def __init__(self, links: Links, cluster: str | None, *, thorough: bool) -> None:
        self.found: list[_Found] = []
        self.silent: dict[Address, str] = {}
        self.secret_refused = ""
        self._links = links
        self._cluster = cluster
        self._thorough = thorough
        self._enough = anyio.CancelScope()

    async def run(self, addresses: Sequence[Address], *, within: float) -> None:
        """Fill ``found`` with those that answer ``within`` so many seconds, and ``silent`` with why others do not."""
        with self._enough:
            self._enough.deadline = anyio.current_time() + within
            async with anyio.create_task_group() as tasks:
                for address in addresses:
                    tasks.start_soon(self._ask, address)

    async def _ask(self, address: Address) -> None:
        try:
            link = await self._links.open(address)
            try:
                node = _Found(link=link, state=await ask_state(link))
            except BaseException:
                link.close("not needed")
                raise
        except CallError as error:
            self.silent[address] = error.reason
            if isinstance(error, SecretRefused):
                self.secret_refused = error.reason
            return
        self.found.append(node)
        if not self._thorough and self._cluster in (None, node.state.cluster):
            self._enough.cancel()


def _nobody(seeds: Sequence[Address], silent: dict[Address, str]) -> str:
    if not seeds:
        first, last = SCANNED[0], SCANNED[-1]
        return (
            f"no node answers at {first.host}, ports {first.port} to {last.port}: "
            "start one (swimring run MODULE:NAME), or say where one is (HOST:PORT)"
        )
    reasons = ", ".join(f"{address} ({silent.get(address, 'no answer')})" for address in seeds)
    return f"no node answers at {reasons}"
