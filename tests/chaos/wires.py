"""Two networks of namespaces, joined by one wire that can be cut. Needs root, and Linux with ``ip``."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NETWORK = "10.213.77"


def why_not() -> str | None:
    """Why there can be no namespaces here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no program ip (iproute2)"
    probe = f"chaos-probe-{secrets.token_hex(3)}"
    done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"no network namespace can be made: {done.stderr.strip()}"
    _ip("netns", "del", probe)
    return None


class Wires:
    """Places with an address each, some on the left, some on the right."""

    def __init__(self, sides: Sequence[str], network: str = NETWORK) -> None:
        self._network = network
        self._hub = f"chaos-{secrets.token_hex(3)}"
        self.sides = sides
        """For each place ``left`` or ``right``."""

    def place(self, number: int) -> list[str]:
        """What runs a command at that place."""
        return ["ip", "netns", "exec", f"{self._hub}-{number}"]

    def host(self, number: int) -> str:
        return f"{self._network}.{number + 1}"

    def lay(self) -> None:
        _ip("netns", "add", self._hub)
        for side in ("left", "right"):
            self._in_hub("link", "add", side, "type", "bridge")
            self._in_hub("link", "set", side, "up")
        self._in_hub("link", "add", "wire", "type", "veth", "peer", "name", "eriw")
        for end, side in (("wire", "left"), ("eriw", "right")):
            self._in_hub("link", "set", end, "master", side, "up")
        for number, side in enumerate(self.sides):
            place = f"{self._hub}-{number}"
            _ip("netns", "add", place)
            self._in_hub("link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", place)
            self._in_hub("link", "set", f"p{number}", "master", side, "up")
            _ip("-n", place, "addr", "add", f"{self.host(number)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", place, "link", "set", device, "up")

    def take_away(self) -> None:
        for name in [*(f"{self._hub}-{number}" for number in range(len(self.sides))), self._hub]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def cut(self) -> None:
        self._in_hub("link", "set", "wire", "down")

    def mend(self) -> None:
        self._in_hub("link", "set", "wire", "up")

    def close_way(self, start: int, end: int, *kind: str) -> None:
        """Drop what one place sends to another, or only what is tcp or udp; the way back stays open."""
        only = ("ipproto", *kind) if kind else ()
        _ip("-n", f"{self._hub}-{start}", "rule", "add", "to", self.host(end), *only, "blackhole")

    def _in_hub(self, *words: str) -> None:
        _ip("-n", self._hub, *words)


@contextmanager
def open_wires(sides: Sequence[str], *, network: str = NETWORK) -> Iterator[Wires]:
    """Lay them, and take them away at the end of the block."""
    wires = Wires(sides, network)
    try:
        wires.lay()
        yield wires
    finally:
        wires.take_away()


@contextmanager
def open_tunnel(*, mtu: int, tells: bool) -> Iterator[tuple[list[str], list[str], str]]:
    """Two places and a router between them, behind which packets may have ``mtu`` bytes only.

    Yields what runs a command at the one and at the other, and the address of the other. With ``tells`` the router says
    when a packet is too large, as it should.
    """
    here, router, there = names = [f"tunnel-{secrets.token_hex(3)}-{end}" for end in ("here", "router", "there")]
    far = f"{NETWORK}.130"
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for place, device, ours, theirs in (
            (here, "near", f"{NETWORK}.1", f"{NETWORK}.2"),
            (there, "far", f"{NETWORK}.129", far),
        ):
            at, router_side = (ours, theirs) if place == here else (theirs, ours)
            _ip("-n", router, "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", place)
            for name, link, address in ((router, device, router_side), (place, "eth0", at)):
                _ip("-n", name, "addr", "add", f"{address}/25", "dev", link)
                _ip("-n", name, "link", "set", link, "up", *(("mtu", str(mtu)) if place == there else ()))
            _ip("-n", place, "route", "add", "default", "via", router_side)
        _ip("netns", "exec", router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        if not tells:
            _ip("-n", router, "rule", "add", "ipproto", "icmp", "blackhole")
        yield ["ip", "netns", "exec", here], ["ip", "netns", "exec", there], far
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
