"""What the machine says: processor time and memory of processes, datagrams and bytes of this network namespace.

Each measurement runs in a network namespace of its own, if this may make one: its counters count nothing else, its
loopback interface is no one else's, and it can be cut in two.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMESPACE: Final = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
"""A namespace for processes, too: nothing that is started in it outlives the first one, however that ends."""

OTHER_SIDE: Final = 65534
"""The user that the processes of the other half run as: a route may depend on the user, and on little else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What this network namespace has sent so far."""

    datagrams: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has used: seconds of processor time so far, and MiB of memory now."""

    seconds: float
    mebibytes: float


def can_isolate() -> bool:
    """Whether this may make network namespaces: Linux, root, and the tools are there."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def set_up_loopback() -> None:
    """In a fresh namespace: loopback up, and a hole that swallows what is routed into it."""
    _ip("link set lo up")
    # The local routes come first by default; what is to be cut off must be looked up before them.
    _ip("rule add pref 100 lookup local")
    _ip("rule del pref 0")


@contextmanager
def cut(mine: str, theirs: str) -> Iterator[None]:
    """Within this block whatever our user sends to ``theirs``, or `OTHER_SIDE` to ``mine``, is lost without a word."""
    _ip("link add hole type ifb")
    _ip("link set hole up")
    for place in ("all", "hole"):
        Path(f"/proc/sys/net/ipv4/conf/{place}/route_localnet").write_text("1")
    _ip("route add table 55 default dev hole")
    rules = [f"uidrange {uid}-{uid} to {to} lookup 55" for uid, to in ((os.getuid(), theirs), (OTHER_SIDE, mine))]
    for rule in rules:
        _ip(f"rule add pref 50 {rule}")
    try:
        yield
    finally:
        for rule in rules:
            _ip(f"rule del pref 50 {rule}")


def traffic() -> Traffic:
    lines = Path("/proc/net/snmp").read_text().splitlines()
    names, values = [line.split() for line in lines if line.startswith("Udp:")]
    (loopback,) = (line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return Traffic(datagrams=int(values[names.index("OutDatagrams")]), bytes=int(loopback.partition(":")[2].split()[8]))


def usage(pid: int) -> Usage:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (resident,) = (line.split()[1] for line in status if line.startswith("VmRSS"))
    return Usage(seconds=(int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"), mebibytes=int(resident) / 1024)


def description() -> str:
    """One line about the machine and how busy it is."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{len(models)} x {models[0]}, Linux {os.uname().release}, load average {load}"


def _ip(command: str) -> None:
    arguments: Sequence[str] = ["ip", *command.split()]
    subprocess.run(arguments, check=True)
