"""A network in one process, by a seed: hosts are strings, packets take virtual time, faults are `with` blocks.

    async with open_simulated_network(seed=7) as network:
        binding = await network.at("a").bind(Address("a", 7979))
        with network.partition("a", "b"):
            ...

A host exists from the first `at` on. What is faithful to real networks and what is not: docs/concepts/simulation.md.
"""

from __future__ import annotations

import errno
import functools
import socket
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.net import Binding, Network

from .fabric import Counters, Fabric, HostStatistics, Life
from .faults import (
    Cut,
    Disturbance,
    Fault,
    Hosts,
    Isolation,
    Latency,
    Packet,
    PacketKind,
    Refusal,
    Stale,
    Verdict,
    chance,
    host_set,
)
from .host import SimulatedHost
from .simulation import current_seed, dice
from .sockets import SimulatedDatagrams, SimulatedListener
from .streams import SimulatedStream, connect_streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from swimring.net import Datagrams

    from .trace import Trace

CONNECT_GIVES_UP_AFTER: Final = 127.0
"""Seconds after which a handshake that nobody answers fails, as Linux does by default."""

_FIRST_FREE_PORT: Final = 49_152
_DATAGRAM_ROOM: Final = 1024
_BACKLOG: Final = 128
_BACKLOG_RETRY: Final = 1.0

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_WILDCARD: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing is bound here, this is how they are recognised

LAN: Final = Latency(low=0.0002, high=0.001)
"""The usual latency of a simulated network: 0.2 to 1 ms."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupMember:
    """A socket that hears a multicast group."""

    host: str
    loopback: bool
    datagrams: SimulatedDatagrams


class SimulatedNetwork:
    """All hosts and everything between them; opened by `open_simulated_network`."""

    def __init__(
        self, seed: int, *, latency: Latency, stream_buffer: int, fragmentation: float, resolution: float
    ) -> None:
        """No hosts yet."""
        self.seed = seed
        self.stream_buffer = stream_buffer
        self.fragmentation = chance(fragmentation, "fragmentation")
        self.fabric = Fabric(rng=dice("network", seed), latency=latency, resolution=resolution)
        self._lives: dict[str, Life] = {}
        self._counters: dict[str, Counters] = {}
        self._datagrams: dict[Address, SimulatedDatagrams] = {}
        self._listeners: dict[Address, SimulatedListener] = {}
        self._loopback_only: set[Address] = set()
        self._names: dict[str, tuple[str, ...]] = {}
        self._groups: dict[Address, list[GroupMember]] = {}

    def __repr__(self) -> str:
        return f"<SimulatedNetwork seed={self.seed} hosts={', '.join(self._lives) or 'none'}>"

    # ------------------------------------------------------------------------------------------------- hosts

    def at(self, host: str) -> HostNetwork:
        """The network as ``host`` sees it; creates the host, and starts a new life if the last one has ended."""
        if host in _LOOPBACK or host in _WILDCARD or not host:
            raise ConfigError("host", host, "a simulated host has a name of its own: every host has its own loopback")
        life = self._lives.get(host)
        if life is None or not life.alive:
            counters = self._counters.setdefault(host, Counters())
            life = self._lives[host] = Life(host, life.number + 1 if life else 1, counters)
            if host in self.fabric.silent_hosts:
                self.fabric.silent_hosts.remove(host)
                self.fabric.release()
        return HostNetwork(self, life)

    def host(self, name: str, *, skew: float = 0.0, drift: float = 0.0) -> SimulatedHost:
        """The machine of the current life of ``name``.

        Its wall clock is ``skew`` seconds ahead; its boot clock runs ``1 + drift`` times as fast as true time.
        """
        number = self.at(name).life.number
        return SimulatedHost(name, seed=self.seed, life=number, skew=skew, drift=drift)

    def set_name(self, name: str, *hosts: str) -> None:
        """Let ``name`` resolve to ``hosts``, in this order, from now on; without hosts it is not known any more."""
        self._names[name] = hosts

    def crash(self, host: str) -> None:
        """Kill the process on ``host``: its sockets are gone, peers see a reset, dialling it is refused.

        What the dead process still tries to send goes nowhere: its sockets raise `trio.ClosedResourceError`. The next
        `at` starts a new life.
        """
        self._end(host, silently=False)

    def freeze(self, host: str) -> None:
        """Lose the machine: as `crash`, but nobody is told anything. Peers' connections hang half-open, dialling hangs.

        After the next `at`, the new life answers what arrives for connections of the old one with a reset.
        """
        self._end(host, silently=True)

    def _end(self, host: str, *, silently: bool) -> None:
        life = self._lives.get(host)
        if life is None or not life.alive:
            raise ConfigError("host", host, "only a running host can end")
        if silently:
            self.fabric.silent_hosts.add(host)
        life.end(silently=silently)

    def statistics(self, host: str) -> HostStatistics:
        """What ``host`` has sent and received so far."""
        return self._counters.get(host, Counters()).snapshot()

    @property
    def trace(self) -> Trace:
        """Every delivery so far, as a hash."""
        return self.fabric.trace

    # ------------------------------------------------------------------------------------------------ faults

    def inject(self, fault: Fault) -> AbstractContextManager[None]:
        """``fault`` is in force within the block."""
        return self.fabric.inject(fault)

    def partition(self, one: Hosts, other: Hosts) -> AbstractContextManager[None]:
        """Nothing passes between the two groups; other hosts reach both."""
        return self.inject(_BothWays(host_set(one), host_set(other)))

    def isolate(self, hosts: Hosts) -> AbstractContextManager[None]:
        """Nothing passes between ``hosts`` and everybody else."""
        return self.inject(Isolation(host_set(hosts)))

    def one_way(self, source: Hosts, target: Hosts) -> AbstractContextManager[None]:
        """Nothing passes from ``source`` to ``target``; the other direction works."""
        return self.inject(Cut(host_set(source), host_set(target)))

    def loss(self, probability: float, hosts: Hosts | None = None) -> AbstractContextManager[None]:
        """Datagrams are lost with this probability, segments and handshakes late; to and from ``hosts``, or all."""
        return self._disturb(Verdict(loss=chance(probability, "loss")), hosts)

    def duplication(self, probability: float, hosts: Hosts | None = None) -> AbstractContextManager[None]:
        """Datagrams arrive twice with this probability; to and from ``hosts``, or all."""
        return self._disturb(Verdict(duplicate=chance(probability, "duplication")), hosts)

    def latency(
        self, low: float, high: float, hosts: Hosts | None = None, *, tail: float = 0.0
    ) -> AbstractContextManager[None]:
        """Packets travel as `Latency` says, which reorders datagrams; to and from ``hosts``, or all."""
        return self._disturb(Verdict(latency=Latency(low=low, high=high, tail=tail)), hosts)

    def refuse(self, hosts: Hosts) -> AbstractContextManager[None]:
        """``hosts`` refuse new connections; existing ones and datagrams go on."""
        return self.inject(Refusal(host_set(hosts)))

    def reordering(self, probability: float, hosts: Hosts | None = None) -> AbstractContextManager[None]:
        """Datagrams take up to 50 ms more with this probability, and are overtaken; to and from ``hosts``, or all."""
        return self._disturb(Verdict(detour=chance(probability, "reordering")), hosts)

    def corruption(self, probability: float, hosts: Hosts | None = None) -> AbstractContextManager[None]:
        """A bit of a datagram flips with this probability; segments are sent again; to and from ``hosts``, or all."""
        return self._disturb(Verdict(corruption=chance(probability, "corruption")), hosts)

    def bandwidth(self, bytes_per_second: float, hosts: Hosts | None = None) -> AbstractContextManager[None]:
        """Each direction between two hosts carries no more than that; to and from ``hosts``, or all."""
        if not bytes_per_second > 0:
            raise ConfigError("bandwidth", bytes_per_second, "more than no bytes per second")
        return self._disturb(Verdict(bandwidth=bytes_per_second), hosts)

    def half_open(self, one: Hosts, other: Hosts) -> AbstractContextManager[None]:
        """Connections that are open between them carry nothing any more, and nobody is told; new ones work."""
        return self.inject(Stale(host_set(one), host_set(other), self.fabric.connections))

    def _disturb(self, verdict: Verdict, hosts: Hosts | None) -> AbstractContextManager[None]:
        return self.inject(Disturbance(verdict, None if hosts is None else host_set(hosts)))

    # ----------------------------------------------------------------------------- for the sockets of the hosts

    def resolve(self, host: str) -> tuple[str, ...]:
        """The hosts a name stands for."""
        if host in self._lives or host in _LOOPBACK or host in _WILDCARD:
            return (host,)
        if hosts := self._names.get(host):
            return hosts
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a simulated host")

    def first_host(self, name: str) -> str:
        """What a dialler takes ``name`` for: itself, or the first host that `set_name` gave it."""
        return next(iter(self._names.get(name, ())), name)

    def knows(self, host: str) -> bool:
        """Whether that host ever existed."""
        return host in self._lives

    def listener(self, target: Address, *, source: str) -> SimulatedListener | None:
        """Who listens at ``target`` (its host is a simulated one) for connections from ``source``."""
        return None if self._hidden(target, source) else self._listeners.get(target)

    def occupy(
        self, key: Address, datagrams: SimulatedDatagrams, listener: SimulatedListener, *, loopback: bool
    ) -> None:
        """Take a port."""
        self._datagrams[key] = datagrams
        self._listeners[key] = listener
        if loopback:
            self._loopback_only.add(key)

    def is_free(self, key: Address) -> bool:
        """Whether neither protocol has the port."""
        return key not in self._datagrams and key not in self._listeners

    def vacate_datagrams(self, key: Address) -> None:
        """The datagram socket is closed."""
        del self._datagrams[key]
        self._forget_loopback(key)

    def vacate_listener(self, key: Address) -> None:
        """The listener is closed."""
        del self._listeners[key]
        self._forget_loopback(key)

    def _forget_loopback(self, key: Address) -> None:
        if self.is_free(key):
            self._loopback_only.discard(key)

    def _hidden(self, target: Address, source: str) -> bool:
        return target in self._loopback_only and source != target.host

    def join_group(self, group: Address, member: GroupMember) -> None:
        """From now on ``member`` hears what is sent to ``group``."""
        self._groups.setdefault(group, []).append(member)

    def quit_group(self, group: Address, member: GroupMember) -> None:
        """``member`` does not listen any more."""
        self._groups[group].remove(member)

    def send_to_group(self, payload: bytes, source: Address, *, sender: GroupMember, group: Address) -> None:
        """Send to everybody in ``group``, the sender included; what is sent by loopback stays on its host."""
        for member in self._groups.get(group, ()):
            if member.host == sender.host or not (member.loopback or sender.loopback):
                deliver = functools.partial(self._deliver_to_member, source, member)
                self._dispatch(payload, deliver, source_host=sender.host, target_host=member.host)

    def _deliver_to_member(self, source: Address, member: GroupMember, payload: bytes) -> None:
        arrived = member.host not in self.fabric.silent_hosts and member.datagrams.arrived(payload, source)
        what = "datagram" if arrived else "undelivered"
        self.trace.record(trio.current_time(), f"{what} {source}>{member.host} in a group", payload)

    def send_datagram(self, payload: bytes, source: Address, *, source_host: str, target: Address) -> None:
        """Send ``payload`` on its way to ``target`` (its host is a simulated one), or lose it."""
        deliver = functools.partial(self._deliver, source, source_host, target)
        self._dispatch(payload, deliver, source_host=source_host, target_host=target.host)

    def _dispatch(
        self, payload: bytes, deliver: Callable[[bytes], None], *, source_host: str, target_host: str
    ) -> None:
        fabric = self.fabric
        verdict = fabric.judge(source_host, target_host, PacketKind.DATAGRAM)
        if verdict.cut or (verdict.loss and fabric.rng.random() < verdict.loss):
            return
        copies = 2 if verdict.duplicate and fabric.rng.random() < verdict.duplicate else 1
        for _ in range(copies):
            arrival = fabric.datagram(payload, source_host, target_host, verdict)
            if arrival is not None:
                journey, arriving = arrival
                fabric.post.at(trio.current_time() + journey, functools.partial(deliver, arriving))

    def _deliver(self, source: Address, source_host: str, target: Address, payload: bytes) -> None:
        found = None if self._hidden(target, source_host) else self._datagrams.get(target)
        arrived = found is not None and target.host not in self.fabric.silent_hosts and found.arrived(payload, source)
        what = "datagram" if arrived else "undelivered"
        self.trace.record(trio.current_time(), f"{what} {source}>{target}", payload)


class HostNetwork(Network):
    """The simulated network as one host sees it, during one life of that host."""

    def __init__(self, network: SimulatedNetwork, life: Life) -> None:
        """Look at ``network`` from the host of ``life``."""
        self._network = network
        self._next_port = _FIRST_FREE_PORT
        self.life = life

    def __repr__(self) -> str:
        return f"<HostNetwork of {self.life}>"

    async def bind(self, address: Address) -> Binding:
        """Bind to this host's name, a loopback address (reachable from this host only) or a wildcard."""
        await trio.lowlevel.checkpoint()
        self._check_alive()
        address = Address(self._network.resolve(address.host)[0], address.port)
        if self._place(address).host != self.life.host:
            raise OSError(errno.EADDRNOTAVAIL, f"cannot bind {address}: that is not {self.life.host}")
        address = Address(address.host, address.port or self._free_port())
        key = self._place(address)
        if not self._network.is_free(key):
            raise OSError(errno.EADDRINUSE, f"cannot bind {address}: Address already in use")
        datagrams = SimulatedDatagrams(
            self.life,
            address=address,
            room=_DATAGRAM_ROOM,
            send=functools.partial(self._send, address),
            on_close=functools.partial(self._network.vacate_datagrams, key),
        )
        listener = SimulatedListener(
            self.life, address=address, room=_BACKLOG, on_close=functools.partial(self._network.vacate_listener, key)
        )
        self._network.occupy(key, datagrams, listener, loopback=address.host in _LOOPBACK)
        return Binding(address=address, datagrams=datagrams, listener=listener)

    async def connect(self, address: Address) -> SimulatedStream:
        """Dial, of a name the first host it stands for; hangs while a cut lasts, for at most 127 s."""
        await trio.lowlevel.checkpoint()
        self._check_alive()
        target = self._place(Address(self._network.first_host(address.host), address.port))
        if not self._network.knows(target.host):
            raise OSError(errno.EHOSTUNREACH, f"no route to host: {address}")
        self.life.counters.connections_dialled += 1
        with trio.move_on_after(CONNECT_GIVES_UP_AFTER):
            return await self._shake_hands(target, address)
        raise TimeoutError(errno.ETIMEDOUT, f"no answer from {address}")

    async def join_group(self, group: Address, *, interface: str) -> Datagrams:
        """Join a group that reaches all hosts, or, by a loopback ``interface``, the processes of this one."""
        await trio.lowlevel.checkpoint()
        self._check_alive()
        here = Address(self.life.host, group.port)
        datagrams = SimulatedDatagrams(
            self.life,
            address=group,
            room=_DATAGRAM_ROOM,
            send=lambda payload, to: self._network.send_to_group(payload, here, sender=member, group=to),
            on_close=lambda: self._network.quit_group(group, member),
        )
        member = GroupMember(host=self.life.host, loopback=interface in _LOOPBACK, datagrams=datagrams)
        self._network.join_group(group, member)
        return datagrams

    async def resolve(self, address: Address) -> list[Address]:
        """Hosts stand for themselves, names for what `SimulatedNetwork.set_name` said."""
        await trio.lowlevel.checkpoint()
        return [Address(host, address.port) for host in self._network.resolve(address.host)]

    async def _shake_hands(self, target: Address, dialled: Address) -> SimulatedStream:
        fabric = self._network.fabric
        here, there = self.life.host, target.host
        while True:
            verdict = await fabric.travel(here, there)
            listener = self._network.listener(target, source=here)
            if listener is None or verdict.refused:
                await fabric.travel(there, here)
                raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {dialled}")
            if not listener.full:
                break
            await trio.sleep(_BACKLOG_RETRY)
        local = Address(dialled.host if dialled.host in _LOOPBACK else here, self._free_port())
        stream, accepted = self._end(self.life, local), self._end(listener.life, dialled)
        connect_streams(stream, accepted)
        listener.arrived(accepted, local)
        fabric.trace.record(trio.current_time(), f"connection {local}>{dialled}")
        try:
            await fabric.travel(there, here)
            self._check_alive()
        except BaseException:
            stream.close()
            raise
        return stream

    def _end(self, life: Life, local: Address) -> SimulatedStream:
        network = self._network
        return SimulatedStream(
            network.fabric,
            life,
            local=local,
            capacity=network.stream_buffer,
            fragmentation=network.fragmentation,
        )

    def _send(self, bound: Address, payload: bytes, to: Address) -> None:
        target = self._place(to)
        source = bound.host if bound.host in _LOOPBACK else self.life.host
        if to.host in _LOOPBACK:
            source = to.host
        self._network.send_datagram(payload, Address(source, bound.port), source_host=self.life.host, target=target)

    def _place(self, address: Address) -> Address:
        """Where an address that this host uses really is."""
        if address.host in _LOOPBACK or address.host in _WILDCARD:
            return Address(self.life.host, address.port)
        return address

    def _free_port(self) -> int:
        while True:
            port, self._next_port = self._next_port, self._next_port + 1
            if self._next_port > 65_535:
                self._next_port = _FIRST_FREE_PORT
            if self._network.is_free(Address(self.life.host, port)):
                return port

    def _check_alive(self) -> None:
        if not self.life.alive:
            raise OSError(errno.ENETDOWN, f"this life of {self.life.host} is over")


class _BothWays:
    """A cut in both directions."""

    def __init__(self, one: frozenset[str], other: frozenset[str]) -> None:
        self._there, self._back = Cut(one, other), Cut(other, one)

    def judge(self, packet: Packet) -> Verdict:
        return self._there.judge(packet).and_also(self._back.judge(packet))


@asynccontextmanager
async def open_simulated_network(
    *,
    seed: int | None = None,
    latency: Latency = LAN,
    stream_buffer: int = 131_072,
    fragmentation: float = 0.05,
    resolution: float = 0.0,
) -> AsyncIterator[SimulatedNetwork]:
    """A network whose dice are seeded by ``seed``, or by the seed of the running simulation.

    Args:
        seed: equal seeds, equal dice; None only within `run_simulation`.
        latency: of every packet, unless a fault says otherwise.
        stream_buffer: bytes that a stream has under way or unread before `send_all` waits, in each direction.
        fragmentation: the chance that sent bytes arrive in two pieces.
        resolution: seconds of which arrivals are a multiple, which makes large clusters cheaper; 0 for any time.
    """
    network = SimulatedNetwork(
        current_seed() if seed is None else seed,
        latency=latency,
        stream_buffer=stream_buffer,
        fragmentation=fragmentation,
        resolution=resolution,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.fabric.post.run)
        yield network
        nursery.cancel_scope.cancel()
