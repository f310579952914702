"""The hello: who we are, which cluster we mean, which versions we speak, what we take; and how one is refused."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.codec import decode, encode
from swimring.errors import ConfigError, RemoteProtocolError
from swimring.identity import NodeId, check_name

from .limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_VERSION: Final = 1
MAX_VERSION: Final = 1
_MAX_FEATURES: Final = 64
_MAX_KEYS: Final = 64
_NONCE_SIZE: Final = 32

CLIENT: Final = "client"
"""The feature by which a hello says: I am no member, nobody can dial me, and my cluster may be "any"."""
OFFERS: Final = "offers"
"""The feature by which a hello says: I take streams that come with an answer."""
ANY_CLUSTER: Final = b""
"""In place of a digest: a client that does not know the cluster's name yet."""


class RefusalCode(enum.IntEnum):
    """Why a hello was refused."""

    PROTOCOL = 1
    """The bytes made no sense."""
    VERSION = 2
    """No version that both speak."""
    CLUSTER = 3
    """Another cluster."""
    SELF = 4
    """The name is our own."""
    STALE = 5
    """A newer life of the same name is known."""
    BUSY = 6
    """The pool has as many connections as it may."""
    SECRET = 7
    """No secret, or another one."""


class HelloRefused(RemoteProtocolError):
    """The other side's hello was not acceptable. It was told so; the connection is gone."""

    def __init__(self, code: RefusalCode, reason: str) -> None:
        """Refuse with ``code`` for ``reason``."""
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame in each direction."""

    node: NodeId
    cluster: bytes
    """Digest of the cluster's name, see `cluster_digest`; from a client it may be `ANY_CLUSTER`."""
    limits: Limits
    min_version: int = MIN_VERSION
    max_version: int = MAX_VERSION
    features: tuple[str, ...] = ()
    """Names of extensions that the sender understands; unknown ones are ignored."""
    nonce: bytes = b""
    """Drawn for this connection, by a side that has a secret; else empty, and the rest is, too."""
    key_ids: tuple[bytes, ...] = ()
    """The keys that the dialler could prove; the one that the listener proves."""
    proof: bytes = b""
    """The listener's."""

    @property
    def takes_any_cluster(self) -> bool:
        """Whether this is the hello of a client that talks to whatever cluster it finds."""
        return CLIENT in self.features and self.cluster == ANY_CLUSTER

    def to_bytes(self) -> bytes:
        """The body of the HELLO frame."""
        items: list[object] = [
            self.min_version,
            self.max_version,
            self.cluster,
            self.node.name,
            self.node.generation,
            self.limits.announced(),
            list(self.features),
        ]
        if self.nonce:
            items.append([self.nonce, list(self.key_ids), self.proof])
        return encode(items)

    @classmethod
    def from_bytes(cls, data: bytes) -> Hello:
        """Read a hello; items behind the known ones are ignored.

        Raises:
            RemoteProtocolError: it is malformed, or announces limits nobody can work with.
        """
        match decode(data):
            case [int(low), int(high), bytes(cluster), str(name), int(generation), [*limits], [*features], *rest]:
                pass
            case _:
                raise RemoteProtocolError("malformed hello")
        if len(features) > _MAX_FEATURES or not all(isinstance(feature, str) for feature in features):
            raise RemoteProtocolError("malformed features in a hello")
        if not 0 <= generation < 2**63 or not 0 < low <= high:
            raise RemoteProtocolError("impossible numbers in a hello")
        try:
            node = NodeId(check_name(name), generation)
        except ConfigError as error:
            raise RemoteProtocolError(f"impossible name in a hello: {error}") from error
        nonce, key_ids, proof = _authentication(rest)
        return cls(
            node=node,
            cluster=cluster,
            limits=_limits(limits),
            min_version=low,
            max_version=high,
            features=tuple(features),
            nonce=nonce,
            key_ids=key_ids,
            proof=proof,
        )


def cluster_digest(cluster: str) -> bytes:
    """BLAKE2b-128 of the cluster's name, personalised: keeps clusters apart, authenticates nobody."""
    return hashlib.blake2b(cluster.encode(), digest_size=16, person=b"swimring-mux").digest()


def check_hello(mine: Hello, theirs: Hello) -> int:
    """The version to speak, the highest that both know.

    Raises:
        HelloRefused: another cluster, no common version, or our own name.
    """
    if theirs.cluster != mine.cluster and not (theirs.takes_any_cluster or mine.takes_any_cluster):
        raise HelloRefused(RefusalCode.CLUSTER, f"{theirs.node} belongs to another cluster")
    version = min(mine.max_version, theirs.max_version)
    if version < max(mine.min_version, theirs.min_version):
        spoken, known = (f"{hello.min_version} to {hello.max_version}" for hello in (theirs, mine))
        raise HelloRefused(RefusalCode.VERSION, f"{theirs.node} speaks versions {spoken}, this node {known}")
    if theirs.node.name == mine.node.name:
        raise HelloRefused(RefusalCode.SELF, f"the name {theirs.node} is taken by this node")
    return version


def _authentication(rest: Sequence[object]) -> tuple[bytes, tuple[bytes, ...], bytes]:
    match rest:
        case [[bytes(nonce), [*ids], bytes(proof), *_], *_]:
            key_ids = tuple(each for each in ids if isinstance(each, bytes))
            if len(nonce) == _NONCE_SIZE and len(key_ids) == len(ids) <= _MAX_KEYS:
                return nonce, key_ids, proof
        case [[*_], *_]:
            pass
        case _:
            return b"", (), b""
    raise RemoteProtocolError("malformed authentication in a hello")


def _limits(numbers: Sequence[object]) -> Limits:
    if len(numbers) < 6 or not all(type(number) is int for number in numbers):
        raise RemoteProtocolError("malformed limits in a hello")
    frame_body, message, streams, stream_window, connection_window, message_window = (int(str(n)) for n in numbers[:6])
    try:
        return Limits(
            frame_body=frame_body,
            message=message,
            streams=streams,
            stream_window=stream_window,
            connection_window=connection_window,
            message_window=message_window,
        )
    except ConfigError as error:
        raise RemoteProtocolError(f"impossible limits in a hello: {error}") from error
