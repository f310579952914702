"""Greets by name and counts visits per key; run it three times: ``swimring run examples/hello.py:app``."""

from swimring import Request, Service

app = Service("hello")
visits: dict[str, int] = {}


@app.on("greet", idempotent=True)
async def greet(request: Request, name: str, *, excited: bool = False) -> str:
    return f"hello {name}{'!' * excited} from {request.node.name}"


@app.on("visit")
async def visit(request: Request) -> int:
    visits[str(request.key)] = visits.get(str(request.key), 0) + 1
    return visits[str(request.key)]
