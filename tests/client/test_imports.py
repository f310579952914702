"""What a program loads when it imports the client."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["swimring.client", "examples.hello", "examples.ticker"])
def test_a_client_and_a_service_are_imported_without_trio(module: str) -> None:
    program = f"import sys, {module}; print(sorted({{'trio', 'trio_util'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_program_that_streams_from_a_cluster_runs_without_trio() -> None:
    program = """
import asyncio, sys
from collections.abc import AsyncIterator
from swimring.client import connect
from swimring.errors import NotJoined
from swimring.service import Channel, Objects, Reply, Request, Service

app = Service("town")

@app.on("clock")
async def clock(request: Request, every: float) -> AsyncIterator[float]:
    yield every

@app.on("chat")
async def chat(channel: Channel[str, str]) -> Reply[int]:
    return Reply(1)

async def main() -> None:
    async with connect("127.0.0.1:1") as mesh:
        async with mesh.open(clock.with_streams(file=Objects([1], int)), "k", 1.0) as items:
            print([item async for item in items])

try:
    asyncio.run(main())
except NotJoined:
    print(sorted({"trio", "trio_util"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
