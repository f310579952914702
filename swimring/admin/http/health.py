"""What a process tells whoever restarts it or sends it traffic: alive, started, ready.

| probe | says no when | so that |
|---|---|---|
| ``/livez`` | the event loop does not turn: then nobody answers at all | it is restarted; never for what peers do |
| ``/startupz`` | it still looks for its cluster | nobody probes for life too early |
| ``/readyz`` | it is not started yet, or it is leaving | traffic goes elsewhere first |
"""

from __future__ import annotations

import enum

from .messages import HttpResponse, json_response


class Stage(enum.Enum):
    """How far a process is."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"


class Health:
    """The stage of one process, and its answers to the three probes."""

    def __init__(self) -> None:
        """It is starting."""
        self._stage = Stage.STARTING

    def reached(self, stage: Stage) -> None:
        """The process got to ``stage``."""
        self._stage = stage

    def answer(self, path: str) -> HttpResponse | None:
        """The answer to one of the probes; None if ``path`` is none."""
        match path:
            case "/livez":
                good = True
            case "/startupz":
                good = self._stage is not Stage.STARTING
            case "/readyz":
                good = self._stage is Stage.SERVING
            case _:
                return None
        return json_response({"stage": self._stage.value}, status=200 if good else 503)
