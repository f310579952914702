"""The service that is measured if none is named: ``swimring run swimring.admin.bench:echo`` offers it anywhere."""

from __future__ import annotations

from typing import Final

from swimring.service import Request, Service

echo: Final = Service("bench")


@echo.on("echo", idempotent=True)
async def _echo(request: Request, data: str = "") -> str:  # noqa: ARG001 - a handler takes the request
    """What was sent."""
    return data
