"""Every exception swimring raises on purpose.

SwimringError
|- ConfigError                 caught before anything runs; says which setting, what was found, what is allowed
|   '- MissingExtra            a feature needs an optional dependency; says what to install
|- ProtocolError
|   |- LocalProtocolError      we (or the application) broke the rules: a bug, nothing was sent
|   '- RemoteProtocolError     the peer did: what it sent is refused, a connection is gone
|       '- GossipRefused       the same of gossip, with a word that says why, for those who count
|- NodeClosed                  this node has been left
|- NotJoined                   this node found nobody to join
|- Evicted                     an operator has declared this life of this node dead
|- NameConflict                somebody else runs, with a newer generation, under this node's name
|- StoreError                  a file of this node could not be read or written
|   '- StoreFull               there is no room for it
'- CallError                   the outcome of one call
    |- Unreachable             never sent                             safe to retry anywhere
    |- Overloaded              shed before the handler ran            safe to retry
    |- CircuitOpen             not attempted                          safe to retry
    |- NotOwner                refused before the handler ran         safe to retry at the owner
    |   '- Moved               the same, with the records that show who owns it now
    |- Draining                refused before the handler ran         safe to retry elsewhere
    |- DeadlineExceeded        maybe executed                         only if idempotent
    |- ConnectionLost          sent, no answer                        only if idempotent
    |   |- StreamLost          a byte stream broke with its connection; says at which offset
    |   '- OwnershipLost       the key moved while the handler ran      only if idempotent
    |- StreamReset             the other side gave up one stream      only if idempotent
    |- NoSuchHandler           nobody answers this message            never
    |- InvalidRequest          the arguments do not fit the handler   never
    '- HandlerFailed           the handler raised                     never

What a handler raises reaches its caller as itself if its service declares the type, or if it is on the short list of
built-in types; then the HandlerFailed, with all that the other side told, is its ``__cause__``. A group arrives as an
ExceptionGroup whose members follow the same rule, so that ``except*`` works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator


class SwimringError(Exception):
    """The root of all errors of swimring: catch it to catch them all."""


class ConfigError(SwimringError):
    """A setting is wrong. The user caused it; nothing has been started; change the setting."""

    def __init__(self, setting: str, found: object, allowed: str) -> None:
        """Say that ``setting`` is ``found`` where only ``allowed`` will do."""
        super().__init__(setting, found, allowed)
        self.setting = setting
        self.found = found
        self.allowed = allowed

    def __str__(self) -> str:
        found = "not set" if self.found is None else f"found {self.found!r}"
        return f"{self.setting}: {found}; {self.allowed}"


class MissingExtra(ConfigError):
    """A feature needs an optional dependency that is not installed; the text is the command that installs it."""

    def __init__(self, extra: str, module: str) -> None:
        """Say that ``module``, which the extra ``extra`` installs, cannot be imported."""
        install = f"pip install 'swimring[{extra}]', or in a clone: pip install -e '.[{extra}]'"
        super().__init__(extra, None, f"{module} is missing, which this extra installs: {install}")

    def __str__(self) -> str:
        return f"extra {self.setting}: {self.allowed}"


class ProtocolError(SwimringError):
    """Somebody broke the rules of a protocol; the subclass says who."""


class LocalProtocolError(ProtocolError):
    """We, or the application, broke the rules: a bug on this side. Nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules. What it sent is refused; if it came over a connection, that connection is gone."""


class GossipRefused(RemoteProtocolError):
    """Bytes that are not taken as gossip. Nothing has changed here; nobody answers.

    Attributes:
        reason: a word, of a list that its class gives.
        detail: what was found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Refuse for ``reason``, with ``detail`` for a person."""
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class NodeClosed(SwimringError):
    """This node has left its cluster; it can no longer be used. Open another one."""


class NotJoined(SwimringError):
    """None of the addresses this node was told to join answered as a member of its cluster."""


class Evicted(SwimringError):
    """An operator has declared this life of this node dead; it stops. Start it again once what was wrong is mended."""


class NameConflict(SwimringError):
    """Another process runs under this node's name with a newer generation; this node stops. Rename one of them."""


class StoreError(SwimringError):
    """A file of this node could not be read or written: the disk, or the rights, are to blame. Nothing was changed."""

    def __init__(self, name: str, reason: str) -> None:
        """Say what happened to the file ``name``."""
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class StoreFull(StoreError):
    """There is no room for it: on the disk, or in a file, which has a limit. Nothing was changed; delete something."""


class CallError(SwimringError):
    """The outcome of one call that did not return a value.

    Attributes:
        reason: what happened, for a person.
        key: the key the call was routed by, or None.
        owner: the name of the node that was asked last, or None when nobody was.
        maybe_executed: whether the handler may have run. False means it certainly did not.
        retry_after: seconds after which another attempt makes sense, or None if unknown.
    """

    default_maybe_executed: ClassVar[bool] = False

    def __init__(
        self,
        reason: str,
        *,
        key: str | bytes | None = None,
        owner: str | None = None,
        maybe_executed: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Complete at birth; ``maybe_executed`` defaults to what the class says."""
        super().__init__(reason)
        self.reason = reason
        self.key = key
        self.owner = owner
        self.maybe_executed = self.default_maybe_executed if maybe_executed is None else maybe_executed
        self.retry_after = retry_after

    def __str__(self) -> str:
        facts = [f"key={self.key!r}" if self.key is not None else "", f"owner={self.owner}" if self.owner else ""]
        known = ", ".join(fact for fact in (*facts, f"maybe_executed={self.maybe_executed}") if fact)
        return f"{self.reason} ({known})"


class Unreachable(CallError):
    """The call was never sent: no connection to the owner could be made, or nobody owns the key. Retry anywhere."""


class Overloaded(CallError):
    """The owner shed the call before its handler ran. Retry after ``retry_after``.

    With ``maybe_executed`` the handler has run, and its answer was dropped: too many waited for this side to read.
    """


class CircuitOpen(CallError):
    """The call was not attempted because the owner failed too often of late. Retry later or elsewhere."""


class NotOwner(CallError):
    """The node that was asked does not own the key, and the hops or the time to find the owner ran out."""


class Moved(NotOwner):
    """The node that was asked does not own the key and shows the member records that made it think so.

    Attributes:
        records: member records as they are on the wire, not validated yet.
    """

    def __init__(
        self,
        reason: str,
        *,
        records: tuple[object, ...] = (),
        key: str | bytes | None = None,
        owner: str | None = None,
    ) -> None:
        """Refuse a call for ``key`` and say who should be asked."""
        super().__init__(reason, key=key, owner=owner)
        self.records = records


class Draining(CallError):
    """The owner is leaving and takes no new calls. Retry: the ring has a new owner in a moment."""


class DeadlineExceeded(CallError):
    """The deadline passed on the other side. The handler may have run; retry only what is idempotent."""

    default_maybe_executed = True


class ConnectionLost(CallError):
    """The call was sent and the connection ended before the answer. Retry only what is idempotent."""

    default_maybe_executed = True


class StreamLost(ConnectionLost):
    """A byte stream ended with its connection. ``offset`` bytes had been transferred in order."""

    def __init__(self, reason: str, *, offset: int, key: str | bytes | None = None, owner: str | None = None) -> None:
        """Say at which byte ``offset`` the stream broke."""
        super().__init__(reason, key=key, owner=owner)
        self.offset = offset


class OwnershipLost(ConnectionLost):
    """The key moved, or its owner was replaced, while the handler ran; what it did may or may not count.

    Raised by `checkpoint` as well, when this node may not keep anything for the key any more. Retry only what is
    idempotent: the next owner answers.
    """


class StreamReset(CallError):
    """The other side gave up this one stream, for the ``reason`` and with the ``code`` it sent."""

    default_maybe_executed = True

    def __init__(self, reason: str, *, code: int, key: str | bytes | None = None, owner: str | None = None) -> None:
        """Say with which ``code`` the stream was reset."""
        super().__init__(reason, key=key, owner=owner)
        self.code = code


class NoSuchHandler(CallError):
    """No registered pattern matches the message, or no member offers the service. Retrying will not help."""


class InvalidRequest(CallError):
    """The message matched a handler but its fields do not fit the handler's parameters. Retrying will not help."""


class HandlerFailed(CallError):
    """The handler ran and raised. Retrying repeats the failure unless the handler says otherwise.

    It is raised itself if the type of the exception cannot be; else it is the ``__cause__`` of what is raised. Its own
    ``__cause__`` is ``remote_cause``, and its frames are a note, so that a traceback shows the whole story.

    Attributes:
        type_name: qualified name of the remote exception's type.
        message: its text.
        frames: its traceback, rendered on the other side, or an empty string.
        remote_cause: the remote ``__cause__`` (or context), as another HandlerFailed, or None.
        members: for an exception group, one HandlerFailed each.
        node: the name of the node that raised it; not ``owner`` if it passed through the handler of another node.
        key: the key of the call whose handler raised it.
        declared: the name under which its service declares the type, and its arguments as CBOR, or None.
    """

    default_maybe_executed = True

    def __init__(
        self,
        *,
        type_name: str,
        message: str,
        frames: str = "",
        remote_cause: HandlerFailed | None = None,
        members: tuple[HandlerFailed, ...] = (),
        key: str | bytes | None = None,
        owner: str | None = None,
        node: str | None = None,
        declared: tuple[str, bytes] | None = None,
    ) -> None:
        """Carry what the other side told about its exception; nothing of it is ever unpickled."""
        super().__init__(f"{type_name}: {message}" if message else type_name, key=key, owner=owner)
        self.type_name = type_name
        self.message = message
        self.frames = frames
        self.remote_cause = remote_cause
        self.members = members
        self.declared = declared
        self._node = node
        self.__cause__ = remote_cause
        if frames:
            self.add_note(f"remote frames:\n{frames}")

    @property
    def node(self) -> str | None:
        """The name of the node that raised it."""
        return self._node or self.owner

    def walk(self) -> Iterator[HandlerFailed]:
        """This failure, its cause and its members, all the way down."""
        yield self
        for below in (self.remote_cause, *self.members):
            if below is not None:
                yield from below.walk()

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text[:-1]}, node={self._node})" if self._node not in (None, self.owner) else text
