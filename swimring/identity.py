"""Who a node is: its name, its generation, its address; and what a key is.

A name outlives restarts, a generation does not: two processes that follow each other under one name differ in
their generation, and the larger one is the later. An incarnation counts the refutations within one generation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from .errors import ConfigError

Generation: TypeAlias = int
Incarnation: TypeAlias = int
Key: TypeAlias = str | bytes

DEFAULT_PORT: Final = 7979
MAX_KEY_BYTES: Final = 1024
MAX_NAME_CHARACTERS: Final = 128
MAX_HOST_CHARACTERS: Final = 255
MAX_SOCKET_PATH_BYTES: Final = 107
"""What the kernel has room for in the address of a Unix socket."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_UNIX: Final = "unix:"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (IP literal or name) and a port, the same for datagrams and streams.

    Or, where a program names one, a Unix socket of this machine; no member is at one, so that none can send us there.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, default_port: int = DEFAULT_PORT, setting: str = "address") -> Address:
        """Read ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``; a bare IPv6 literal is a host.

        Raises:
            ConfigError: the text is none of these, or the port is not in 0..65535; it names ``setting``.
        """
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            port_text = rest[1:] if rest.startswith(":") else ""
            malformed = not bracket or (rest != "" and not port_text)
        elif text.count(":") > 1:
            host, port_text, malformed = text, "", False
        else:
            host, colon, port_text = text.partition(":")
            malformed = bool(colon) and not port_text
        if malformed or not is_host(host) or (port_text and not (port_text.isascii() and port_text.isdigit())):
            raise ConfigError(setting, text, "write host, host:port or [ipv6]:port")
        port = int(port_text) if port_text else default_port
        if port > 65535:
            raise ConfigError(setting, text, "a port is a number from 0 to 65535")
        return cls(host, port)

    @classmethod
    def parse_or_unix(cls, text: str, *, setting: str = "address") -> Address:
        """Read ``unix:/PATH``, or what `parse` reads.

        Raises:
            ConfigError: the text is none of these.
        """
        if text.startswith(_UNIX):
            return cls.unix(text.removeprefix(_UNIX), setting=setting)
        return cls.parse(text, setting=setting)

    @classmethod
    def unix(cls, path: str, *, setting: str = "address") -> Address:
        """The Unix socket at ``path``, which is absolute.

        Raises:
            ConfigError: no socket can be there.
        """
        if not path.startswith("/") or "\0" in path or len(path.encode(errors="surrogatepass")) > MAX_SOCKET_PATH_BYTES:
            raise ConfigError(setting, path, f"an absolute path of at most {MAX_SOCKET_PATH_BYTES} bytes")
        return cls(f"{_UNIX}{path}", 0)

    @property
    def path(self) -> str | None:
        """Where the Unix socket is; None for a host and a port."""
        return self.host.removeprefix(_UNIX) if self.host.startswith(f"{_UNIX}/") else None

    def __str__(self) -> str:
        if self.path is not None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """One life of one node: a name and the generation that tells this life from earlier ones."""

    name: str
    generation: Generation

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class Fence:
    """One opening of one key by one owner; a later owner has a greater one. Compared number first.

    No two openings have the same fence. Hand ``number`` to whatever the owner writes to, so that it can refuse whoever
    was replaced.
    """

    number: int
    """Above 0, below 2**63."""
    owner: str
    """The name of the node that opened the key."""

    def __str__(self) -> str:
        return f"{self.number}@{self.owner}"


def is_host(text: str) -> bool:
    """Whether ``text`` can be the host of an address: 1 to 255 printable characters, which cannot forge a log line.

    A slash would be a path: a member that claims to be at a Unix socket is refused.
    """
    return 0 < len(text) <= MAX_HOST_CHARACTERS and text.isprintable() and not {" ", "/"} & set(text)


def check_name(name: str, *, setting: str = "name") -> str:
    """Return ``name`` if it can name a node, a cluster or a service.

    Raises:
        ConfigError: it is empty, too long, or has characters outside ``[A-Za-z0-9._:-]``.
    """
    if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise ConfigError(
            setting, name, f"use 1 to {MAX_NAME_CHARACTERS} of A-Z a-z 0-9 . _ : - starting with a letter or digit"
        )
    return name


def key_bytes(key: Key) -> bytes:
    """The bytes that a key is hashed and compared by: UTF-8 for text, not normalised.

    Raises:
        ConfigError: the key is neither str nor bytes, is longer than 1 KiB, or is text that UTF-8 cannot carry.
    """
    if isinstance(key, str):
        try:
            raw = key.encode()
        except UnicodeEncodeError:
            raise ConfigError("key", key, "text with lone surrogates cannot be a key") from None
    elif isinstance(key, bytes):
        raw = key
    else:
        raise ConfigError("key", key, "a key is str or bytes")
    if len(raw) > MAX_KEY_BYTES:
        raise ConfigError("key", f"{len(raw)} bytes", f"a key has at most {MAX_KEY_BYTES} bytes")
    return raw
