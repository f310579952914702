"""Keys with state: what a service declares about them, and what a handler sees of the key it was called for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from swimring.codec import ShapeError, checker, decode, encode
from swimring.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from swimring.identity import Fence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.identity import Key

    from .request import Request

S = TypeVar("S")

MAX_REPLICAS: Final = 16
MAX_BUDGET: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a key is kept and handed off."""

    replicas: int = 0
    """Nodes besides the owner that keep a copy in memory."""
    sync: bool = True
    """Whether a checkpoint waits for them."""
    budget: float = 1.0
    """Seconds that a scope has to end when its key moves."""

    def __post_init__(self) -> None:
        """Check every bound.

        Raises:
            ConfigError: one of them is out of range.
        """
        if not 0 <= self.replicas <= MAX_REPLICAS:
            raise ConfigError("replicas", self.replicas, f"from 0 to {MAX_REPLICAS}")
        if not 0 <= self.budget <= MAX_BUDGET:
            raise ConfigError("budget", self.budget, f"seconds, from 0 to {MAX_BUDGET:.0f}")


class StateForm(Generic[S]):
    """A type of state, as bytes and back."""

    def __init__(self, kind: type[S], *, setting: str) -> None:
        """Compile the annotation ``kind``.

        Raises:
            ConfigError: a part of it is not supported.
        """
        self._checker: Final = checker(kind, setting=setting)
        self._setting: Final = setting

    def dump(self, state: S) -> bytes:
        """The bytes of ``state``.

        Raises:
            LocalProtocolError: it does not fit its type.
        """
        try:
            return encode(self._checker.dump(state))
        except ShapeError as error:
            raise LocalProtocolError(f"{self._setting}: {error}") from error

    def load(self, raw: bytes) -> S:
        """The state that these bytes are of.

        Raises:
            LocalProtocolError: they are not of this type: another version of the program wrote them.
        """
        try:
            loaded: S = self._checker.load(decode(raw))
        except (ShapeError, RemoteProtocolError) as error:
            raise LocalProtocolError(f"{self._setting}: what was kept does not fit: {error}") from error
        return loaded


async def _keep_nothing() -> None:
    """What a handler that is called by hand checkpoints."""


class KeyState(Generic[S]):
    """One key with its state, while this node owns it: what `OwnedKeys.of` gives a handler.

    Attributes:
        state: change it, or set another one; it is handed off as it is, and survives crashes as it was checkpointed.
        key: the key.
        fence: of this opening: give its number to what you write to.
    """

    def __init__(self, state: S, *, key: Key, fence: Fence, keep: Callable[[], Awaitable[None]]) -> None:
        """Made for each key that is opened."""
        self.state = state
        self.key: Final = key
        self.fence: Final = fence
        self._keep = keep

    def __repr__(self) -> str:
        return f"<KeyState of {self.key!r}, fence {self.fence}>"

    async def checkpoint(self) -> None:
        """Keep the state as it is now; with synchronous replicas, return when they have it.

        Raises:
            OwnershipLost: this node may keep nothing for the key any more.
            Overloaded: there is no room for it here.
            LocalProtocolError: the state does not fit its type, or is larger than 512 KiB.
        """
        await self._keep()


class OwnedKeys(Generic[S]):
    """All keys of a service have a state of one type: made by `Service.own_keys`.

    Attributes:
        terms: how many copies there are, and the budget of a hand-off.
        idle: seconds without a call after which a key is closed; what was kept stays.
        one_at_a_time: whether the calls of one key take turns.
    """

    def __init__(
        self, kind: type[S], *, service: str, initial: Callable[[], S], terms: Terms, idle: float, one_at_a_time: bool
    ) -> None:
        """Made by `Service.own_keys`."""
        self._form: Final = StateForm(kind, setting=f"own_keys of {service}")
        self._initial = initial
        self.service: Final = service
        self.terms: Final = terms
        self.idle: Final = idle
        self.one_at_a_time: Final = one_at_a_time

    def of(self, request: Request) -> KeyState[S]:
        """The key of this call, open on this node.

        Raises:
            ConfigError: the call has no key.
        """
        if request.own is None:
            raise ConfigError(f"own_keys of {self.service}", request.key, "calls without a key have no state")
        return request.own

    def load(self, raw: bytes | None) -> S:
        """The state that was kept, or a first one.

        Raises:
            LocalProtocolError: what was kept is not of this type.
        """
        return self._initial() if raw is None else self._form.load(raw)

    def dump(self, state: S) -> bytes:
        """The bytes of ``state``.

        Raises:
            LocalProtocolError: it does not fit its type.
        """
        return self._form.dump(state)

    def opened(
        self,
        state: S,
        *,
        key: Key = "",
        fence: Fence | None = None,
        keep: Callable[[], Awaitable[None]] = _keep_nothing,
    ) -> KeyState[Any]:
        """What a handler gets as ``request.own``; for a unit test, the state is enough."""
        return KeyState(state, key=key, fence=fence or Fence(1, "test"), keep=keep)
