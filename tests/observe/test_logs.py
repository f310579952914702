from __future__ import annotations

import io
import json
import logging
import random
import sys
import threading

import pytest

from swimring.errors import ConfigError
from swimring.observe import JsonFormatter, RepeatFilter, set_up_logging
from swimring.observe.logs import PAUSE, REMEMBERED
from swimring.tracing import Trace, use_trace


def line(text: str, *args: object, at: float = 0.0, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("swimring.test", level, __file__, 1, text, args, None)
    record.created = at
    record.__dict__.update(extra)
    return record


def test_a_line_for_programs_is_one_json_object_with_the_facts() -> None:
    formatter = JsonFormatter({"cluster": "kv", "node": "a"})
    told = json.loads(formatter.format(line("%s is dead", "b", event="member.dead", peer="b", at=1.5)))
    assert told == {
        "ts": "1970-01-01T00:00:01.500+00:00",
        "level": "warning",
        "logger": "swimring.test",
        "cluster": "kv",
        "node": "a",
        "event": "member.dead",
        "peer": "b",
        "msg": "b is dead",
    }


def test_what_is_known_of_a_node_only_later_is_said_from_then_on() -> None:
    facts: dict[str, str] = {}
    formatter = JsonFormatter(facts)
    assert "node" not in json.loads(formatter.format(line("it starts")))
    facts["node"] = "a"
    assert json.loads(formatter.format(line("it is open")))["node"] == "a"


def test_a_line_cannot_be_broken_by_what_it_quotes() -> None:
    assert "\n" not in JsonFormatter().format(line("it said %s", "one\ntwo"))


def test_a_line_written_in_a_trace_says_which() -> None:
    trace = Trace.begin(random.Random(1))
    with use_trace(trace):
        told = json.loads(JsonFormatter().format(line("hello")))
    assert (told["trace_id"], told["span_id"]) == (trace.trace_id, trace.span_id)


def test_a_line_with_an_error_carries_its_traceback() -> None:
    try:
        raise ZeroDivisionError("no")
    except ZeroDivisionError:
        record = line("it failed")
        record.exc_info = sys.exc_info()
    told = json.loads(JsonFormatter().format(record))
    assert told["error"].endswith("ZeroDivisionError: no")
    assert RepeatFilter().filter(record)
    assert RepeatFilter().filter(record)


def test_a_line_that_repeats_is_kept_back_and_counted_by_the_next() -> None:
    repeats = RepeatFilter()
    flood = [line("no answer from %s", "b", at=n / 100) for n in range(100)]
    assert [repeats.filter(each) for each in flood] == [True] + [False] * 99
    later = line("no answer from %s", "b", at=PAUSE + 1)
    assert repeats.filter(later)
    assert later.getMessage() == "no answer from b (99 more like it since the last)"
    assert repeats.filter(line("no answer from %s", "c", at=PAUSE + 1)), "another peer is another line"


def test_a_line_whose_arguments_do_not_fit_is_told_by_the_handler_and_hurts_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    set_up_logging("info")
    logging.getLogger("somebody.else").info("%d apples", "many")
    logging.getLogger("swimring.x").info("hello")
    said = stderr.getvalue()
    assert "--- Logging error ---" in said
    assert json.loads(said.splitlines()[-1])["msg"] == "hello"


def test_a_stream_that_cannot_be_written_to_hurts_nobody_who_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    set_up_logging("info")
    logging.getLogger("swimring.x").info("hello")


def test_lines_of_many_threads_at_once_are_each_said_once() -> None:
    repeats = RepeatFilter()
    said: list[int] = []

    def flood() -> None:
        said.extend(number for number in range(2 * REMEMBERED) if repeats.filter(line(f"made up {number // 2}")))

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number // 2 for number in said) == list(range(REMEMBERED))


def test_a_line_of_another_level_is_another_line() -> None:
    repeats = RepeatFilter()
    assert repeats.filter(line("late", level=logging.INFO))
    assert repeats.filter(line("late", level=logging.WARNING))


def test_what_is_remembered_about_lines_is_bounded() -> None:
    repeats = RepeatFilter()
    assert repeats.filter(line("the first"))
    for n in range(REMEMBERED):
        assert repeats.filter(line(f"made up {n}"))
    assert repeats.filter(line("the first"))  # forgotten, not kept back


def test_stderr_that_is_no_terminal_gets_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    set_up_logging("info", facts={"node": "a"})
    logging.getLogger("swimring.x").info("hello")
    logging.getLogger("swimring.x").debug("too much")
    assert [json.loads(each)["msg"] for each in stderr.getvalue().splitlines()] == ["hello"]
    assert logging.getLogger().level == logging.INFO


def test_people_who_ask_for_it_get_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    set_up_logging("warning", form="human")
    logging.getLogger("swimring.x").warning("hello")
    assert stderr.getvalue().endswith("WARNING swimring.x: hello\n")
    assert logging.getLogger().level == logging.WARNING


@pytest.mark.parametrize(("level", "form"), [("loud", "auto"), ("info", "xml")])
def test_a_level_or_format_that_does_not_exist_is_a_config_error(level: str, form: str) -> None:
    with pytest.raises(ConfigError, match="use one of"):
        set_up_logging(level, form=form)
