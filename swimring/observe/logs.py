"""Log lines for people on a terminal and for programs everywhere else; what repeats is said once and counted.

All loggers are below ``swimring``. A line of ours may carry an ``event``, a stable name such as ``member.changed``, and
facts (``node``, ``peer``, ``key``) in its ``extra``; they become fields of the JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from swimring.errors import ConfigError
from swimring.tracing import current_trace

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("auto", "human", "json")
PAUSE: Final = 10.0
"""Seconds for which a line that repeats is kept back."""
REMEMBERED: Final = 1_024
"""Lines that are remembered as said lately; beyond them the oldest is forgotten, and may be said again."""

_FACTS: Final = ("event", "cluster", "node", "peer", "key", "ring")
_HUMAN: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, msg, and what is known of event, cluster, node, peer, key, trace."""

    def __init__(self, facts: Mapping[str, str] | None = None) -> None:
        """Every line says ``facts``, such as the name of the node; what is put into them later is said from then on."""
        super().__init__()
        self._always = {} if facts is None else facts

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._always,
        }
        fields.update((name, record.__dict__[name]) for name in _FACTS if name in record.__dict__)
        if (trace := current_trace()) is not None:
            fields.update(trace_id=trace.trace_id, span_id=trace.span_id)
        fields["msg"] = record.getMessage()
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class RepeatFilter(logging.Filter):
    """Keeps a line back that was said less than `PAUSE` seconds ago; the next one says how many were.

    Two lines are the same if logger, level and text are. Lines with an exception are never kept back.
    """

    def __init__(self, pause: float = PAUSE) -> None:
        """Nothing was said yet; ``pause`` in seconds."""
        super().__init__()
        self._pause = pause
        self._said: OrderedDict[tuple[str, int, str], _Said] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to say it."""
        if record.exc_info:
            return True
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - whoever logged it gave arguments that do not fit: the handler says so
            return True
        line = (record.name, record.levelno, text)
        with self._lock:  # handlers ask their filters before they take their own
            return self._may_say(record, line, text)

    def _may_say(self, record: logging.LogRecord, line: tuple[str, int, str], text: str) -> bool:
        said = self._said.get(line)
        if said is not None and record.created - said.at < self._pause:
            said.kept_back += 1
            return False
        if said is not None and said.kept_back:
            record.msg = f"{text} ({said.kept_back} more like it since the last)"
            record.args = ()
        self._said[line] = _Said(record.created)
        self._said.move_to_end(line)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return True


class _Said:
    __slots__ = ("at", "kept_back")

    def __init__(self, at: float) -> None:
        self.at = at
        self.kept_back = 0


def check_logging(level: str, form: str = "auto") -> None:
    """Check what `set_up_logging` is to be told.

    Raises:
        ConfigError: no such level or format.
    """
    if level not in LEVELS:
        raise ConfigError("log-level", level, f"use one of: {', '.join(LEVELS)}")
    if form not in FORMATS:
        raise ConfigError("log-format", form, f"use one of: {', '.join(FORMATS)}")


def set_up_logging(
    level: str, *, form: str = "auto", facts: Mapping[str, str] | None = None, human: logging.Handler | None = None
) -> None:
    """Let the standard library's root logger write to stderr.

    Args:
        level: debug, info, warning or error.
        form: human, json, or auto: human if stderr is a terminal.
        facts: what every JSON line says, such as cluster and node.
        human: what writes to a terminal; default: plain lines.

    Raises:
        ConfigError: no such level or format.
    """
    check_logging(level, form)
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter(facts))
    else:
        handler = human or logging.StreamHandler()
        if human is None:
            handler.setFormatter(logging.Formatter(_HUMAN))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
