"""A call with streams while its caller holds it open: what feeds the streams, and what is left when the block ends.

It waits with what the driver brings (`Waiting`), so that nodes on Trio and clients on any event loop share all of it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from swimring.errors import CallError
from swimring.mux import CallEnded, outcome_of

from .feeding import failure_in, feed
from .streams import reset_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from swimring.mux import Answer

    from .feeding import Source
    from .streams import SessionStream, Waiting


class Due(Protocol):
    """An answer that is waited for."""

    answer: Answer | None
    """The answer, once it is there."""
    offered: dict[str, SessionStream] | None
    """Where streams that come with the answer are put; None if nobody is there to read any."""

    async def wait(self) -> Answer:
        """Wait for the answer, beside whoever else does."""
        ...

    def settle(self, answer: Answer, /) -> None:
        """The answer is there."""
        ...


class Carrier(Protocol):
    """The connection that a call is made over."""

    @property
    def poke(self) -> Callable[[], None]:
        """Say that there is something to write."""
        ...

    def attach(self, stream_id: int, name: str) -> SessionStream:
        """The stream of a call, which gets its events from now on."""
        ...

    def detach(self, stream_id: int) -> None:
        """Nobody reads or writes that stream any more."""
        ...

    def spawn(self, function: Callable[[], Any], /) -> None:
        """Run a task that ends with the connection at the latest."""
        ...


class Ways(Protocol):
    """What can be done about one call that was sent."""

    def value(self, answer: Answer) -> Any:
        """The value of an answer, or the error that it is."""
        ...

    def cancel(self, reason: str) -> None:
        """Tell the other side that the call is given up."""
        ...

    async def withdraw(self, reason: str) -> None:
        """Tell it, and wait a moment until it has stopped: after that it is an orphan."""
        ...


class HeldCall:
    """A call with streams, while its block runs."""

    def __init__(self, due: Due, streams: Mapping[str, SessionStream], ways: Ways, waiting: Waiting) -> None:
        """Made by `hold`."""
        self.streams: Final = streams
        self.offered: Final[dict[str, SessionStream]] = {}
        self.source_failure: Exception | None = None
        self.orphaned = False
        self._due = due
        self._ways = ways
        self._checkpoint = waiting.checkpoint

    @property
    def outcome(self) -> str:
        """What became of it: see `swimring.service.OpenCall.outcome`."""
        answer = self._due.answer
        if answer is None:
            return "orphaned" if self.orphaned else "open"
        return outcome_of(answer)

    async def result(self) -> Any:
        """Wait for the handler's value; any number of tasks, as often as they like.

        Raises:
            CallError: the handler failed, or the connection did.
            Exception: a source of a stream raised this while it was read; the call was cancelled.
        """
        await self._checkpoint()
        answer = await self._due.wait()
        if isinstance(answer, CallEnded) and self.source_failure is not None:
            raise self.source_failure
        return self._ways.value(answer)

    def fail(self, failure: Exception) -> None:
        """A source has failed: the call is given up, and ends with that."""
        self.source_failure = self.source_failure or failure  # the others end because of the first
        self._ways.cancel(f"a source failed: {type(failure).__name__}")


class _Feeder:
    """A task that fills one stream; the block of the call waits for it."""

    __slots__ = ("_call", "_source", "_stream", "_waiting", "finished", "scope")

    def __init__(self, call: HeldCall, stream: SessionStream, source: Source, waiting: Waiting) -> None:
        self._call = call
        self._stream = stream
        self._source = source
        self._waiting = waiting
        self.scope = waiting.scope()
        self.finished = waiting.event()

    async def run(self) -> None:
        try:
            with self.scope:
                await self._feed()
        finally:
            self.finished.set()

    async def _feed(self) -> None:
        try:
            await feed(self._stream, self._source, self._waiting.open_file)
        except BaseException as error:  # noqa: BLE001 - what is not the failure of a source goes on
            failure, others = failure_in(error, self._waiting.cancelled())
            if isinstance(failure, CallError) and self._stream.broken:
                failure = None  # the result of the call says so better; what came from over there can still be read
            if failure is not None:
                self._call.fail(failure)
            if others is not None:
                raise others from None


@asynccontextmanager
async def hold(
    carrier: Carrier,
    due: Due,
    ids: Mapping[str, int],
    sources: Mapping[str, Source],
    *,
    ways: Ways,
    waiting: Waiting,
) -> AsyncIterator[HeldCall]:
    """Hold a call open that was sent, its streams with ``ids``; leaving the block before its answer cancels it."""
    streams = {name: carrier.attach(stream_id, name) for name, stream_id in ids.items()}
    call = HeldCall(due, streams, ways, waiting)
    due.offered = call.offered
    feeders = [_Feeder(call, streams[name], source, waiting) for name, source in sources.items()]
    try:
        for feeder in feeders:
            carrier.spawn(feeder.run)
        yield call
    except BaseException as error:
        for stream in call.offered.values():
            stream.reset(reset_code(error, waiting), f"the caller left: {type(error).__name__}")
        raise
    finally:
        for feeder in feeders:
            feeder.scope.cancel()
        if due.answer is None:
            await ways.withdraw("the caller left the block of its call")
            call.orphaned = due.answer is None
        for stream in (*streams.values(), *call.offered.values()):
            stream.conclude()
            carrier.detach(stream.stream_id)
        if feeders:
            await _wait_for(feeders, waiting)


async def _wait_for(feeders: Iterable[_Feeder], waiting: Waiting) -> None:
    """Wait until they have come to their end; they were told to."""
    with waiting.scope(shield=True):
        for feeder in feeders:
            await feeder.finished.wait()
