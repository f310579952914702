"""What a process tells whoever restarts it or sends it traffic: alive, started, ready.

| probe | says no when | so that |
|---|---|---|
| ``/livez`` | the event loop does not turn: then nobody answers at all | it is restarted; never for what peers do |
| ``/startupz`` | it still looks for its cluster | nobody probes for life too early |
| ``/readyz`` | it is not started yet, or it is leaving | traffic goes elsewhere first |
| ``/readyz`` | it takes no keys, or not yet all of its share | a rollout waits before it stops the next node |

What others do decides none of it: a service that only this node offers is ready as soon as this node is.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from swimring.swim import FULL_SHARE, Phase

from .messages import HttpResponse, json_response

if TYPE_CHECKING:
    from swimring.swim import Standing


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

    def answer(self, path: str, standing: Standing | None = None) -> HttpResponse | None:
        """The answer to one of the probes; None if ``path`` is none.

        ``standing`` is what the node tells the others about the keys it takes, if there is a node.
        """
        told = {"stage": self._stage.value}
        match path:
            case "/livez":
                good = True
            case "/startupz":
                good = self._stage is not Stage.STARTING
            case "/readyz":
                lacking = None if standing is None else _lacking(standing)
                good = self._stage is Stage.SERVING and lacking is None
                if lacking is not None:
                    told["because"] = lacking
            case _:
                return None
        return json_response(told, status=200 if good else 503)


def _lacking(standing: Standing) -> str | None:
    """Why a node that serves should get no more traffic, or none yet; None if it should."""
    if standing.phase == Phase.SERVING:
        return None if standing.share == FULL_SHARE else f"it takes {standing.share} of {FULL_SHARE} of its keys yet"
    return "it is cordoned" if standing.phase == Phase.CORDONED else "it drains"
