"""``swimring doctor``: what keeps nodes apart, seen from this machine; a finding says what it means and what to do."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import anyio

from swimring.builtin import NAMESPACE
from swimring.errors import CallError, ConfigError, NotJoined
from swimring.identity import Address

from .access import ANY, Access, AsJson
from .asking import dial
from .findings import BAD, GOOD, Finding, clock_finding, mtu_findings, reach_findings, udp_finding
from .output import print_json, print_text
from .pinging import Heard, Pinging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swimring.client import Mesh
    from swimring.swim import Member

_PATIENCE: Final = 1.5
"""Seconds that each check of a member waits; all members are checked at once."""


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
        async with dial(replace(access, join=tuple(reached))) as mesh:
            findings.append(Finding(check="cluster", subject=mesh.cluster, verdict=GOOD, found="its nodes answer"))
            findings += await _Examination(mesh, access).run()
    except (ConfigError, NotJoined) as error:
        findings.append(_refused(error, ", ".join(reached) or "this machine"))
    return findings


async def _dial(address: Address, *, said: str) -> list[Finding]:
    """Whether the name is known and the port takes connections; the last finding decides."""
    if said.startswith("unix:"):
        return [Finding(check="tcp", subject=said, verdict=GOOD, found="a Unix socket: no network is involved")]
    try:
        found = await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter of a name that DNS cannot have
        return [
            Finding(
                check="dns", subject=address.host, verdict=BAD, found=getattr(error, "strerror", None) or str(error),
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
    except (OSError, UnicodeError) as error:
        reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
        refused = getattr(reason, "errno", None) == errno.ECONNREFUSED
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
        self._pinging = Pinging(mesh.cluster, access.keys())
        self._members = [member for member in mesh.members if member.status.active]
        self._findings: dict[str, list[Finding]] = {}
        self._views: dict[str, dict[str, str]] = {}
        self._heard: dict[str, Heard] = {}

    async def run(self) -> list[Finding]:
        async with anyio.create_task_group() as tasks:
            for number, member in enumerate(self._members):
                others = [*self._members[number + 1 :], *self._members[:number]]
                tasks.start_soon(self._examine, member, others)
        told = [one for member in self._members for one in self._findings[member.name]]
        answering = {name for name, heard in self._heard.items() if heard.small}
        return told + reach_findings(
            {name: view for name, view in self._views.items() if name in answering},
            {name: heard.missed for name, heard in self._heard.items()},
        )

    async def _examine(self, member: Member, others: Sequence[Member]) -> None:
        findings = self._findings[member.name] = []
        port = await _dial_port(member.address, subject=f"{member.name} at {member.address}")
        heard = self._heard[member.name] = await self._pinging.ask(member, member.address, others)
        findings += [port, udp_finding(member.name, heard.small)]
        findings += mtu_findings(member.name, heard.mtu, small=heard.small, large=heard.large)
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
