"""``swimring doctor``: what keeps nodes apart, seen from this machine; a finding says what it means and what to do."""

from __future__ import annotations

import errno
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import anyio

from swimring.builtin import NAMESPACE
from swimring.errors import CallError, ConfigError, NotJoined
from swimring.gossip import Envelopes
from swimring.identity import Address, NodeId
from swimring.net import SystemHost
from swimring.security import Keyring, Sealing
from swimring.swim import PROFILES, BytesRefused, Envelope, Ping

from .access import ANY, Access, AsJson
from .asking import dial
from .output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.client import Mesh
    from swimring.swim import Member

GOOD: Final = "good"
BAD: Final = "bad"
CLOCKS_MAY_DIFFER: Final = 5.0
"""Seconds between two clocks that are worth a word; sealed gossip is refused beyond minutes."""

_PINGS: Final = 5
_PATIENCE: Final = 1.5
_IP_MTU: Final = 14
"""The socket option of Linux; the module `socket` has no name for it."""
_HEADERS: Final = 48
"""Bytes of IPv6 and UDP around a datagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: dns, tcp, cluster, secret, node, udp, mtu, clock or reach.
        subject: the address or the member it is about.
        verdict: good or bad.
        found: what was seen.
        means: what follows from it; empty if nothing does.
        do: what to do; empty if there is nothing.
    """

    check: str
    subject: str
    verdict: str
    found: str
    means: str = ""
    do: str = ""


def doctor(*, access: Access = ANY, as_json: AsJson = False) -> int:
    """Print what was found; 0 if all is good, 1 if something is not.

    Raises:
        ConfigError: the options are wrong.
    """
    access.check()
    findings = anyio.run(_examine, access)
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        for one in findings:
            print_text(f"{one.verdict:4} {one.check:7} {one.subject}: {one.found}")
            if one.verdict == BAD:
                print_text(f"     it means: {one.means}\n     do: {one.do}")
    return 1 if any(one.verdict == BAD for one in findings) else 0


async def _examine(access: Access) -> list[Finding]:
    findings: list[Finding] = []
    reached = []
    for text in access.join:
        address = Address.parse_or_unix(text, setting="join")
        found = await _dial(address, said=text)
        findings += found
        if found[-1].verdict == GOOD:
            reached.append(text)
    if access.join and not reached:
        return findings
    try:
        with anyio.fail_after(access.within):
            async with dial(replace(access, join=tuple(reached))) as mesh:
                findings.append(Finding(check="cluster", subject=mesh.cluster, verdict=GOOD, found="its nodes answer"))
                findings += await _Examination(mesh, access).run()
    except (ConfigError, NotJoined) as error:
        findings.append(_refused(error, ", ".join(reached) or "this machine"))
    except TimeoutError:
        findings.append(_refused(NotJoined(f"no answer within {access.within:g} s"), ", ".join(reached)))
    return findings


async def _dial(address: Address, *, said: str) -> list[Finding]:
    """Whether the name is known and the port takes connections; the last finding decides."""
    if said.startswith("unix:"):
        return [Finding(check="tcp", subject=said, verdict=GOOD, found="a Unix socket: no network is involved")]
    try:
        found = await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return [
            Finding(
                check="dns", subject=address.host, verdict=BAD, found=error.strerror or str(error),
                means="this machine cannot turn the name into an address; a node with it in join finds nobody there",
                do="check the spelling, the search domain and the server in /etc/resolv.conf, or join by address",
            )
        ]  # fmt: skip
    addresses = sorted({str(each[4][0]) for each in found})
    named = Finding(check="dns", subject=address.host, verdict=GOOD, found=", ".join(addresses))
    return [named, await _dial_port(address)]


async def _dial_port(address: Address, *, subject: str = "") -> Finding:
    subject = subject or str(address)
    try:
        with anyio.fail_after(_PATIENCE):
            async with await anyio.connect_tcp(address.host, address.port):
                return Finding(check="tcp", subject=subject, verdict=GOOD, found="takes connections")
    except TimeoutError:
        return Finding(
            check="tcp", subject=subject, verdict=BAD, found=f"silent for {_PATIENCE:g} s",
            means="packets to this port are dropped on the way, or the machine is down",
            do="open the port for TCP in the firewalls and network policies between here and there",
        )  # fmt: skip
    except OSError as error:
        reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
        refused = reason.errno == errno.ECONNREFUSED
        return Finding(
            check="tcp", subject=subject, verdict=BAD, found="refused" if refused else str(error),
            means="the machine is there and nothing listens on that port" if refused else "there is no way there",
            do="start the node, or correct its --listen and --advertise" if refused else "check routes and addresses",
        )  # fmt: skip


def _refused(error: ConfigError | NotJoined, subject: str) -> Finding:
    match error:
        case ConfigError(setting="secret" | "secret_file"):
            return Finding(
                check="secret", subject=subject, verdict=BAD, found=error.allowed,
                means="the nodes have another secret, or none: they take nothing that this machine says",
                do="give the secret of the cluster with --secret-file; `swimring keys list` on a node shows its keys",
            )  # fmt: skip
        case ConfigError(setting="cluster"):
            return Finding(
                check="cluster", subject=str(error.found or subject), verdict=BAD, found=error.allowed,
                means="nodes of different clusters refuse each other",
                do="name the same cluster on every node, with --cluster or in the file of settings",
            )  # fmt: skip
        case ConfigError():
            raise error
        case _:
            return Finding(
                check="node", subject=subject, verdict=BAD, found=str(error),
                means="what listens there does not answer as a node does",
                do="check that it is a node, that TLS is on or off on both sides, and whether it has a secret",
            )  # fmt: skip


class _Examination:
    """Asks each member that takes part, and compares what they say of each other."""

    def __init__(self, mesh: Mesh, access: Access) -> None:
        self._mesh = mesh
        self._access = access
        self._keys = access.keys()
        self._findings: dict[str, list[Finding]] = {}
        self._views: dict[str, dict[str, str]] = {}

    async def run(self) -> list[Finding]:
        members = [member for member in self._mesh.members if member.status.active]
        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(self._examine, member)
        told = [one for member in members for one in self._findings[member.name]]
        return told + reach_findings(self._views)

    async def _examine(self, member: Member) -> None:
        findings = self._findings[member.name] = []
        port = await _dial_port(member.address, subject=f"{member.name} at {member.address}")
        findings.append(port)
        findings += await self._ping(member)
        if port.verdict == GOOD:
            with suppress(CallError, NotJoined, ConfigError, TimeoutError), anyio.fail_after(_PATIENCE):
                await self._ask(member, findings)

    async def _ask(self, member: Member, findings: list[Finding]) -> None:
        async with dial(self._access, member, cluster=self._mesh.cluster) as mesh:
            before = datetime.now(tz=UTC).timestamp()
            report = await mesh.request({"ns": NAMESPACE, "cmd": "statistics"}, idempotent=True)
            after = datetime.now(tz=UTC).timestamp()
            if report["name"] == member.name:
                self._views[member.name] = {one.name: one.status.word for one in mesh.members}
                findings.append(clock_finding(member.name, report["wall"] / 1000 - (before + after) / 2))

    async def _ping(self, member: Member) -> list[Finding]:
        """Questions of the gossip itself, as a stranger: who gets one answers it, whoever asks."""
        keyring = None if self._keys is None else Keyring(self._keys)
        envelopes = Envelopes(cluster=self._mesh.cluster, host=SystemHost(), keyring=keyring, sealing=Sealing.REQUIRE)
        me, heard, mtu = NodeId(f"doctor-{secrets.token_hex(4)}", 1), set[int](), None
        try:
            async with await anyio.create_connected_udp_socket(member.address.host, member.address.port) as link:
                mtu = _mtu_of(link)
                for number in range(1, _PINGS + 1):
                    ask = Envelope(source=me, incarnation=1, destination=member.id, sequence=number, message=Ping())
                    with suppress(OSError, anyio.BrokenResourceError):
                        await link.send(envelopes.write_datagram(ask))
                with anyio.move_on_after(_PATIENCE):
                    while len(heard) < _PINGS:
                        with suppress(BytesRefused):
                            heard.add(envelopes.read_datagram(await link.receive()).sequence)
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # nobody listens there: as good as silent
        return [udp_finding(member.name, len(heard)), *mtu_findings(member.name, mtu)]


def reach_findings(views: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Who is doubted by another and answers us: the way between these two is what is broken.

    Args:
        views: for each member that answered, the status of every member as it believes it.
    """
    return [
        Finding(
            check="reach", subject=f"{name} to {other}", verdict=BAD, found=f"{name} holds {other} for {status}",
            means=f"{other} answers here, so the way from {name} to {other}, or back, is closed for datagrams",
            do=f"open UDP and TCP between these two machines in both directions; if {other} was frozen, wait",
        )
        for name, view in sorted(views.items())
        for other, status in sorted(view.items())
        if status in {"suspect", "dead"} and other in views
    ]  # fmt: skip


def clock_finding(name: str, ahead: float) -> Finding:
    """What it means that the clock of a member is ``ahead`` of ours by so many seconds."""
    if abs(ahead) <= CLOCKS_MAY_DIFFER:
        return Finding(check="clock", subject=name, verdict=GOOD, found=f"{ahead:+.1f} s from here")
    return Finding(
        check="clock", subject=name, verdict=BAD, found=f"{ahead:+.1f} s from here",
        means="sealed gossip between clocks that are minutes apart is refused, and lives of a name may be mistaken",
        do="let both machines follow a time server (chrony, systemd-timesyncd)",
    )  # fmt: skip


def udp_finding(name: str, heard: int) -> Finding:
    """What it means that so many of the pings were answered."""
    found = f"{heard} of {_PINGS} pings answered"
    if heard == _PINGS:
        return Finding(check="udp", subject=name, verdict=GOOD, found=found)
    if heard:
        means, do = (
            "datagrams are lost on the way: members will be suspected",
            "look for an overloaded or wireless link",
        )
    else:
        means = "datagrams do not pass: connections hide it, but each node will take the other for dead and back again"
        do = "open the port for UDP as well as TCP, in both directions; look for NAT in between"
    return Finding(check="udp", subject=name, verdict=BAD, found=found, means=means, do=do)


def mtu_findings(name: str, mtu: int | None) -> list[Finding]:
    """Whether the largest datagram of the gossip fits the way; nothing where the kernel does not know."""
    if mtu is None:
        return []
    needed = max(profile.datagram_budget for profile in PROFILES.values()) + _HEADERS
    if mtu >= needed:
        return [Finding(check="mtu", subject=name, verdict=GOOD, found=f"{mtu} bytes")]
    return [
        Finding(
            check="mtu", subject=name, verdict=BAD, found=f"{mtu} bytes, and a datagram may have {needed}",
            means="large datagrams are cut in pieces or dropped: news travels slowly, or not at all",
            do=f"raise the MTU of the tunnel or interface to {needed}",
        )
    ]  # fmt: skip


def _mtu_of(link: Any) -> int | None:
    raw = link.extra(anyio.abc.SocketAttribute.raw_socket, None)  # noqa: S610 - not of Django
    try:
        return None if raw is None else int(raw.getsockopt(socket.IPPROTO_IP, _IP_MTU))
    except OSError:
        return None
