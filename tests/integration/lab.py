"""A service to try the client on; its state is what happened to its handlers."""

from __future__ import annotations

import trio

from swimring import Request, Service

app = Service("lab")
noted: list[int] = []
cancelled: list[str] = []


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


@app.on("echo", idempotent=True)
async def echo(request: Request, data: bytes) -> bytes:
    return data


@app.on("divide")
async def divide(request: Request, by: int) -> float:
    return 1 / by


@app.error
class TooMuch(Exception):
    """Declared: raised at the caller as itself."""


@app.on("refuse")
async def refuse(request: Request, how: str) -> None:
    if how == "group":
        raise ExceptionGroup("several", [TooMuch("one"), ValueError("two"), ZeroDivisionError("three")])
    raise TooMuch(how, 7)


@app.on("wait")
async def wait(request: Request) -> None:
    try:
        await trio.sleep_forever()
    finally:
        cancelled.append(str(request.key))


@app.on("cancelled", idempotent=True)
async def list_cancelled(request: Request) -> list[str]:
    return cancelled


@app.on("patience")
async def patience(request: Request) -> float:
    return request.deadline - trio.current_time()


@app.on("note")
async def note(request: Request, number: int) -> None:
    noted.append(number)


@app.on("noted", idempotent=True)
async def list_noted(request: Request) -> list[int]:
    return sorted(noted)
