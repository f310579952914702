"""Envelopes to bytes and back, plain or sealed: the one place of gossip that knows about keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swimring.security import BOX_OVERHEAD, SALT_SIZE, SEALED_MAGIC, Opener, Sealer, Sealing, SealRefused
from swimring.swim import (
    FRAME_HEADER_SIZE,
    MAX_DATAGRAM,
    MAX_FRAME,
    BytesRefused,
    KeyMissing,
    Refused,
    check_magic,
    decode_datagram,
    decode_frame,
    encode_datagram,
    encode_frame,
    encode_padded_ping,
    frame_length,
    tag_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.net import Host
    from swimring.security import Keyring, Opened
    from swimring.swim import Envelope

_MS_PER_MINUTE: Final = 60_000
_DATAGRAM: Final = b"datagram"
_DIAL: Final = b"dial"
_ANSWER: Final = b"answer"
_MAX_SEALED_FRAME: Final = FRAME_HEADER_SIZE + MAX_FRAME + BOX_OVERHEAD
_OTHER_KEYS_LIMIT: Final = 4096


class Envelopes:
    """Writes and reads for one node; without a ``keyring`` everything is plain."""

    def __init__(self, *, cluster: str, host: Host, keyring: Keyring | None = None, sealing: Sealing) -> None:
        """Write for ``cluster``; ``host`` gives the salts, and the minute."""
        self.tag_key: Final = tag_key(cluster)
        self.keyring: Final = keyring
        self.takes_plain: Final = keyring is None or sealing is not Sealing.REQUIRE
        self._cluster = cluster
        self._host = host
        self.seals: Final = keyring is not None and sealing is not Sealing.ACCEPT
        self._other_keys: dict[str, bytes] = {}
        if keyring is not None:
            self._sealer = self.new_sealer()
            self._datagrams = Opener(keyring, cluster=cluster)
            self.streams: Final = Opener(keyring, cluster=cluster)

    @property
    def overhead(self) -> int:
        """How many bytes of a datagram the seal takes."""
        return 1 + BOX_OVERHEAD if self.seals else 0

    @property
    def minute(self) -> int:
        """The coarse time of seals."""
        return self._host.wall_ms() // _MS_PER_MINUTE

    def write_datagram(self, envelope: Envelope) -> bytes:
        """The datagram that carries ``envelope``, sealed for its destination if this node seals."""
        return self._seal(encode_datagram(envelope, key=self.tag_key), envelope)

    def write_padded_ping(self, envelope: Envelope, *, size: int) -> bytes:
        """The same for a ping, as a datagram of ``size`` bytes."""
        return self._seal(encode_padded_ping(envelope, key=self.tag_key, size=size - self.overhead), envelope)

    def _seal(self, plain: bytes, envelope: Envelope) -> bytes:
        if not self.seals:
            return plain
        key_id = None if envelope.destination is None else self._other_keys.get(envelope.destination.name)
        return self._sealer.seal(
            plain, minute=self.minute, prefix=bytes([SEALED_MAGIC]), purpose=_DATAGRAM, key_id=key_id
        )

    def read_datagram(self, data: bytes) -> Envelope:
        """The envelope that a datagram carries.

        Raises:
            BytesRefused: it carries none for this node.
        """
        if not is_sealed(data):
            self.check_plain(data)
            return decode_datagram(data, key=self.tag_key)
        self.check_sealed()
        if len(data) > MAX_DATAGRAM:
            raise BytesRefused("oversized", f"a datagram of {len(data)} bytes, more than {MAX_DATAGRAM}")
        try:
            opened = self._datagrams.open(data, minute=self.minute, start=1, purpose=_DATAGRAM)
        except SealRefused as refusal:
            raise BytesRefused(refusal.reason, refusal.detail) from refusal
        envelope = decode_datagram(opened.plaintext, key=self.tag_key)
        self.heard(envelope.source.name, opened.key_id, lacks_ours=isinstance(envelope.message, KeyMissing))
        return envelope

    def dials(self, name: str) -> Iterator[Conversation]:
        """Conversations to try, one after the other, with the member ``name`` ("": whoever it is): one for each key."""
        if not self.seals:
            yield Conversation(self, dialled=True)
            return
        assert self.keyring is not None
        first = self._other_keys.get(name, self.keyring.primary)
        for key_id in sorted(self.keyring.ids, key=lambda each: each != first):
            yield Conversation(self, dialled=True, key_id=key_id)

    def answer(self) -> Conversation:
        """The other side of a conversation: plain or sealed as it begins."""
        return Conversation(self, dialled=False)

    def new_sealer(self) -> Sealer:
        """A sender with a salt of its own."""
        assert self.keyring is not None
        return Sealer(self.keyring, cluster=self._cluster, salt=self._host.entropy(SALT_SIZE))

    def heard(self, name: str, key_id: bytes, *, lacks_ours: bool) -> None:
        """The member ``name`` has that key, and maybe lacks our primary one: until it is heard under that."""
        assert self.keyring is not None
        if key_id == self.keyring.primary:
            self._other_keys.pop(name, None)
        elif lacks_ours:
            if len(self._other_keys) >= _OTHER_KEYS_LIMIT:
                self._other_keys.clear()  # they are learnt again as they are heard
            self._other_keys[name] = key_id

    def check_plain(self, data: bytes) -> None:
        """Look at plain ``data``.

        Raises:
            BytesRefused: this node takes nothing plain, or it is no gossip of our version.
        """
        _check_version_of_seal(data)
        check_magic(data)
        if not self.takes_plain:
            raise BytesRefused("unsealed", "not sealed, and this cluster has a secret: give it to the sender")

    def check_sealed(self) -> None:
        """Make sure that this node can open anything.

        Raises:
            BytesRefused: it has no secret.
        """
        if self.keyring is None:
            raise BytesRefused("sealed", "it is sealed, and this node has no secret: give it one (--secret-file)")


class Conversation:
    """Frames of one connection, both ways: the counters of a sealed one have no gaps."""

    def __init__(self, envelopes: Envelopes, *, dialled: bool, key_id: bytes | None = None) -> None:
        """Speak first if it was ``dialled``: plain, or sealed with the key of ``key_id``."""
        self._envelopes = envelopes
        self._dialled = dialled
        self._key_id = key_id
        self._out = b""
        self._in = b"" if dialled else _DIAL
        self._peer_salt: bytes | None = None
        self._expected = 0
        self._sealer: Sealer | None = None
        if key_id is not None:
            self._sealer = envelopes.new_sealer()
            self._out, self._in = _DIAL, _ANSWER + self._sealer.salt

    def write(self, envelope: Envelope) -> bytes:
        """The frame that carries ``envelope``."""
        plain = encode_frame(envelope, key=self._envelopes.tag_key)
        if self._sealer is None:
            return plain
        prefix = bytes([SEALED_MAGIC]) + (BOX_OVERHEAD + len(plain)).to_bytes(4, "big")
        return self._sealer.seal(
            plain, minute=self._envelopes.minute, prefix=prefix, purpose=self._out, key_id=self._key_id
        )

    def check_magic(self, data: bytes) -> None:
        """Look at the first byte of a frame, before more is waited for.

        Raises:
            BytesRefused: it cannot begin a frame of this conversation.
        """
        if is_sealed(data):
            self._envelopes.check_sealed()
            if self._sealer is None and (self._dialled or self._expected):
                raise BytesRefused("malformed", "a sealed frame in a plain conversation")
        elif self._sealer is None:
            self._envelopes.check_plain(data)
        else:
            check_magic(data)

    def frame_length(self, header: bytes) -> int:
        """How many bytes follow the 5 ``header`` bytes of a frame.

        Raises:
            BytesRefused: they begin no frame, or one that is too large.
        """
        if not is_sealed(header):
            return frame_length(header)
        length = int.from_bytes(header[1:FRAME_HEADER_SIZE], "big")
        if length > _MAX_SEALED_FRAME:
            raise BytesRefused("oversized", f"a sealed frame of {length} bytes, more than {_MAX_SEALED_FRAME}")
        return length

    def read(self, frame: bytes) -> Envelope:
        """The envelope that a whole frame carries.

        Raises:
            BytesRefused: it carries none for this node, at this place of the conversation.
        """
        if not is_sealed(frame):
            return self._read_plain(frame)
        try:
            opened = self._open(frame)
        except SealRefused as refusal:
            raise BytesRefused(refusal.reason, refusal.detail) from refusal
        envelope = decode_frame(opened.plaintext, key=self._envelopes.tag_key)
        # Who dials uses another key than the primary one only after that was refused.
        self._envelopes.heard(envelope.source.name, opened.key_id, lacks_ours=self._dialled)
        return envelope

    def _read_plain(self, frame: bytes) -> Envelope:
        envelope = decode_frame(frame, key=self._envelopes.tag_key)
        # A node that cannot open what we sealed can only say so in plain; believing it costs this connection.
        if self._sealer is not None and not (self._dialled and isinstance(envelope.message, Refused)):
            raise BytesRefused("unsealed", "a plain frame in a sealed conversation")
        self._expected += 1
        return envelope

    def _open(self, frame: bytes) -> Opened:
        opener, minute = self._envelopes.streams, self._envelopes.minute
        begins = self._peer_salt is None
        # The salt of an answer needs no memory: it is bound to our own salt, which nobody draws again.
        open_box = opener.open if begins and not self._dialled else opener.peek
        opened = open_box(frame, minute=minute, start=FRAME_HEADER_SIZE, purpose=self._in)
        if opened.counter != self._expected or (not begins and opened.salt != self._peer_salt):
            raise SealRefused("replay", "it does not follow what came before")
        self._expected += 1
        if begins:
            self._peer_salt = opened.salt
            if self._sealer is None:
                self._key_id, self._sealer = opened.key_id, self._envelopes.new_sealer()
                self._out = _ANSWER + opened.salt
        return opened


def _check_version_of_seal(data: bytes) -> None:
    if data[:1] and data[0] & 0xF0 == SEALED_MAGIC & 0xF0:  # and not ours, or it would not be taken for plain
        ours = SEALED_MAGIC & 0x0F
        raise BytesRefused("version", f"speaks version {data[0] & 0x0F} of sealed gossip, we speak {ours}")


def is_sealed(data: bytes) -> bool:
    """Whether ``data`` begins like something sealed."""
    return data[:1] == bytes([SEALED_MAGIC])
