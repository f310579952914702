"""What `Service.schema` says of handlers that yield, talk over channels and hand streams over."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import Never

from swimring.service import Channel, Reply, Request, Service

app = Service("stage")


@app.on("yield")
async def yielding(request: Request, since: int) -> AsyncIterator[str]:
    yield str(since)


@app.on("talk")
async def talk(channel: Channel[int, str]) -> bool:
    return True


@app.on("sum")
async def total(channel: Channel[int, Never]) -> int:
    return 0


@app.on("hand over")
async def hand_over(request: Request) -> Reply[int]:
    return Reply(1, streams={"file": b""})


def test_a_schema_says_what_goes_each_way() -> None:
    document = app.schema()
    answers = [
        {name: handler.get(name) for name in ("items", "receives", "result") if name in handler}
        for handler in document["handlers"]
    ]
    assert answers == [
        {"items": {"type": "string"}},
        {"receives": {"type": "integer"}, "items": {"type": "string"}, "result": {"type": "boolean"}},
        {"receives": {"type": "integer"}, "items": {"not": {}}, "result": {"type": "integer"}},
        {"result": {"type": "integer"}},
    ]
    assert document["handlers"][0]["parameters"]["properties"] == {"since": {"type": "integer"}}
