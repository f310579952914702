"""Counters that survive deploys and crashes: ``swimring run examples/counter.py:app``, three times; then stop any."""

from swimring import Request, Service

app = Service("counter")
counters = app.own_keys(int, replicas=2)


@app.on("add")
async def add(request: Request, by: int = 1) -> int:
    own = counters.of(request)
    own.state += by
    await own.checkpoint()  # two other nodes have it now
    return own.state


@app.on("read", idempotent=True)
async def read(request: Request) -> int:
    return counters.of(request).state
