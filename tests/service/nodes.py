"""A node without a cluster, for tests of handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.service import AnswerStream, Caller, Endpoint, Machine, Store
    from swimring.swim import Member

P = ParamSpec("P")
R = TypeVar("R")


class NamedNode:
    """A node with a name and nothing behind it, as a unit test of a handler writes one."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def host(self) -> Machine:
        raise NotImplementedError

    @property
    def store(self) -> Store:
        raise NotImplementedError

    @property
    def members(self) -> tuple[Member, ...]:
        return ()

    def lookup(self, key: Key, /, *, service: str | None = None) -> Member:
        raise NotImplementedError

    def owns(self, key: Key, /, *, service: str | None = None) -> bool:
        return True

    def replicas(self, key: Key, n: int, /, *, service: str | None = None) -> tuple[Member, ...]:
        return ()

    def peer(self, name: str) -> Caller:
        raise NotImplementedError

    async def broadcast(self, name: str, payload: object = None, /) -> None:
        raise NotImplementedError

    def query(
        self, name: str, payload: Mapping[str, Any] | None = None, /, **_which: Any
    ) -> AbstractAsyncContextManager[AnswerStream]:
        raise NotImplementedError

    async def call(self, endpoint: Endpoint[P, R], key: Key | None, /, *args: P.args, **kwargs: P.kwargs) -> R:
        raise NotImplementedError

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        raise NotImplementedError

    async def cast(self, message: Mapping[str, Any], /) -> None:
        raise NotImplementedError
