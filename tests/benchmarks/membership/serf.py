"""Serf: how an agent is started, what its log lines say, and how it is told to join."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

import trio

_WORDS: Final = {"Join": "alive", "Failed": "dead", "Leave": "left"}
_EVENT: Final = re.compile(r"serf: EventMember(Join|Failed|Leave)(?: \(forced\))?: (\S+)")
_SUSPECT: Final = re.compile(r"memberlist: Suspect (\S+) has failed")
_UP: Final = "Serf agent running!"


def version() -> str | None:
    """What the installed Serf calls itself; None if there is none."""
    if shutil.which("serf") is None:
        return None
    said = subprocess.run(["serf", "version"], capture_output=True, check=True, text=True).stdout
    return said.splitlines()[0].strip()


def command(name: str, address: str, rpc_port: int, profile: str, join: list[str]) -> list[str]:
    """An agent that listens on loopback only."""
    return [
        "serf",
        "agent",
        f"-node={name}",
        f"-bind={address}",
        f"-rpc-addr=127.0.0.1:{rpc_port}",
        f"-profile={profile}",
        *(f"-join={one}" for one in join),
    ]


def read(line: str, observer: str) -> tuple[str, str] | None:
    """What a line of the log says: a word and whom it is about."""
    if _UP in line:
        return "up", observer
    if found := _EVENT.search(line):
        return None if found[2] == observer else (_WORDS[found[1]], found[2])
    if found := _SUSPECT.search(line):
        return "unreached", found[1]
    return None


async def open_rpc(port: int) -> trio.SocketStream:
    """A connection that commands can be sent on."""
    line = await trio.open_tcp_stream("127.0.0.1", port)
    await line.send_all(_packed({"Command": "handshake", "Seq": 0}) + _packed({"Version": 1}))
    await line.receive_some()
    return line


async def join(line: trio.SocketStream, address: str) -> None:
    """Tell the agent to join; does not wait for its answer."""
    await line.send_all(_packed({"Command": "join", "Seq": 1}) + _packed({"Existing": [address], "Replay": False}))


def health(rpc_port: int) -> int:
    """The agent's health score: 0 is good."""
    said = subprocess.run(
        ["serf", "info", f"-rpc-addr=127.0.0.1:{rpc_port}"], capture_output=True, check=True, text=True
    ).stdout
    found = re.search(r"health_score = (\d+)", said)
    return 0 if found is None else int(found[1])


def _packed(value: object) -> bytes:
    """MessagePack, as much of it as commands need."""
    match value:
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return bytes([value])
        case str():
            text = value.encode()
            return bytes([0xA0 | len(text)]) + text
        case list():
            return bytes([0x90 | len(value)]) + b"".join(_packed(one) for one in value)
        case dict():
            pairs = b"".join(_packed(key) + _packed(one) for key, one in value.items())
            return bytes([0x80 | len(value)]) + pairs
        case _:
            raise TypeError(value)
