"""Errors as records and back: every class, the tree, the caps."""

from __future__ import annotations

import pytest

from swimring.codec import encode
from swimring.errors import (
    CallError,
    DeadlineExceeded,
    HandlerFailed,
    Moved,
    NotOwner,
    Overloaded,
    RemoteProtocolError,
    StreamLost,
    StreamReset,
    Unreachable,
)
from swimring.mux import decode_failure, encode_failure
from swimring.mux.failures import CODES, MAX_DEPTH, MAX_NODES, MAX_TEXT


def travelled(error: Exception, *, executed: bool = False) -> CallError:
    return decode_failure(encode_failure(error, executed=executed), key="k", owner="o")


@pytest.mark.parametrize(
    "kind", [kind for kind in CODES if kind not in (StreamLost, StreamReset, HandlerFailed, Moved)]
)
def test_a_call_error_travels_as_itself(kind: type[CallError]) -> None:
    arrived = travelled(kind("why", retry_after=1.5))
    assert type(arrived) is kind
    assert (arrived.reason, arrived.retry_after, arrived.key, arrived.owner) == ("why", 1.5, "k", "o")
    assert arrived.maybe_executed == kind.default_maybe_executed


def test_the_numbers_and_records_of_an_error_travel_with_it() -> None:
    lost, reset = travelled(StreamLost("why", offset=7)), travelled(StreamReset("why", code=2))
    moved = travelled(Moved("why", records=([1, "two"],)))
    assert isinstance(lost, StreamLost)
    assert isinstance(reset, StreamReset)
    assert isinstance(moved, Moved)
    assert (lost.offset, reset.code, moved.records) == (7, 2, ([1, "two"],))


def test_once_a_handler_has_begun_nothing_is_safe_to_repeat() -> None:
    assert not travelled(Unreachable("behind")).maybe_executed
    assert travelled(Unreachable("behind"), executed=True).maybe_executed
    assert not travelled(DeadlineExceeded("spent", maybe_executed=False)).maybe_executed


def test_a_subclass_of_the_application_travels_as_the_class_we_know() -> None:
    class Quota(Overloaded):
        pass

    assert type(travelled(Quota("too much"))) is Overloaded


def test_records_that_cannot_be_encoded_are_left_out() -> None:
    arrived = travelled(Moved("why", records=(object(),)))
    assert isinstance(arrived, NotOwner)
    assert isinstance(arrived, Moved)
    assert arrived.records == ()


def test_an_exception_is_a_tree_of_names_texts_and_frames() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ExceptionGroup("outer", [ValueError("one"), TypeError("two")]) from inner
    except ExceptionGroup as error:
        arrived = travelled(error)
    assert isinstance(arrived, HandlerFailed)
    assert (arrived.type_name, arrived.message) == ("ExceptionGroup", "outer")
    assert "test_failures.py" in arrived.frames
    assert arrived.remote_cause is not None
    assert arrived.remote_cause.type_name == "KeyError"
    assert [member.message for member in arrived.members] == ["one", "two"]
    assert str(travelled(arrived)) == str(arrived)


def test_a_suppressed_context_is_not_told() -> None:
    try:
        try:
            raise KeyError("secret")
        except KeyError:
            raise ValueError("public") from None
    except ValueError as error:
        arrived = travelled(error)
    assert isinstance(arrived, HandlerFailed)
    assert arrived.remote_cause is None


def nodes(error: HandlerFailed) -> int:
    causes = nodes(error.remote_cause) if error.remote_cause else 0
    return 1 + causes + sum(map(nodes, error.members))


def depth(error: HandlerFailed) -> int:
    below = [*error.members, *([error.remote_cause] if error.remote_cause else [])]
    return 1 + max(map(depth, below), default=0)


def test_deep_wide_and_long_errors_are_capped() -> None:
    deep: Exception = ValueError("end")
    for _ in range(50):
        deep = ExceptionGroup("deep", [deep])
    wide = ExceptionGroup("wide", [ValueError("x" * 1000) for _ in range(500)])
    for error in (deep, wide, ValueError("x" * 10**6)):
        record = encode_failure(error, executed=True)
        arrived = decode_failure(record)
        assert isinstance(arrived, HandlerFailed)
        assert nodes(arrived) <= MAX_NODES
        assert depth(arrived) <= MAX_DEPTH
        assert len(record) < MAX_TEXT + 64 * 64


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    arrived = travelled(one)
    assert isinstance(arrived, HandlerFailed)
    assert depth(arrived) <= MAX_DEPTH


def test_a_broken_text_does_not_hide_the_error() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    arrived = travelled(Broken())
    assert "its __str__ raised" in str(arrived)
    assert "\\udc80" in str(travelled(ValueError("\udc80")))


def test_an_unknown_code_is_a_failure_of_the_handler() -> None:
    arrived = decode_failure(encode([99, "from the future", True, None, None, "more"]))
    assert isinstance(arrived, HandlerFailed)
    assert arrived.message == "from the future"


@pytest.mark.parametrize(
    "record",
    [
        [],
        [1],
        ["1", "why", False, None],
        [1, 2, False, None],
        [1, "why", 0, None],
        [1, "why", False, "soon"],
        [9, "why", True, None, -1],
        [9, "why", True, None, "x"],
        [13, "", True, None, None],
        [13, "", True, None, ["T", "m", "f", None]],
        [13, "", True, None, ["T", "m", "f", 7, []]],
        [13, "", True, None, ["T", "m", "f", None, [["T", "m", "f", None, []]] * 64]],
    ],
)
def test_a_malformed_record_is_refused(record: list[object]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_failure(encode(record))


# ------------------------------------------------------------------------------------------- what can be raised again


def declare(error: BaseException) -> tuple[str, bytes] | None:
    return (type(error).__name__, encode(list(error.args))) if isinstance(error, (KeyError, ValueError)) else None


GOLDEN = bytes.fromhex(
    "850d60f5f6"  # HandlerFailed, no reason, maybe executed, no retry after
    "86"  # a group: six items
    "6e457863657074696f6e47726f7570 6474776f73 60 f6"  # ExceptionGroup, "twos", no frames, no cause
    "82"  # its members
    "86 6a56616c75654572726f72 61 76 60 f6 80 82 6a56616c75654572726f72 43 816176"  # ValueError: v, declared
    "85 6954797065 4572726f72 61 74 60 f6 80"  # TypeError: t, not declared
    "82 6e457863657074696f6e47726f7570 40"  # how to raise the group
)


def test_the_bytes_of_a_tree() -> None:
    error = ExceptionGroup("twos", [ValueError("v"), TypeError("t")])
    assert encode_failure(error, executed=True, declare=declare) == GOLDEN
    arrived = decode_failure(GOLDEN, key="k", owner="o")
    assert isinstance(arrived, HandlerFailed)
    assert arrived.declared == ("ExceptionGroup", b"")
    assert [member.declared for member in arrived.members] == [("ValueError", encode(["v"])), None]


def test_a_tree_without_the_items_it_has_grown_is_read() -> None:
    arrived = decode_failure(encode([13, "", True, None, ["T", "m", "f", None, []]]), key="k", owner="o")
    assert isinstance(arrived, HandlerFailed)
    assert (arrived.declared, arrived.node, arrived.key) == (None, "o", "k")


def test_an_error_that_passes_through_keeps_its_node_and_key_and_loses_its_declaration() -> None:
    far = decode_failure(encode_failure(ValueError("v"), executed=True, declare=declare), key=b"far", owner="c")
    near = decode_failure(encode_failure(far, executed=True, declare=declare), key="near", owner="b")
    assert isinstance(near, HandlerFailed)
    assert (near.owner, near.node, near.key, near.declared) == ("b", "c", b"far", None)
    assert "owner=b" in str(near)
    assert "node=c" in str(near)


def test_cancellation_and_exit_never_cross_not_even_as_a_cause() -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ValueError("while cleaning up")  # noqa: B904 - the context is the point
    except ValueError as error:
        arrived = travelled(error)
    assert isinstance(arrived, HandlerFailed)
    assert arrived.remote_cause is None


def test_arguments_share_the_room_of_the_texts() -> None:
    for length, there in [(4_000, True), (MAX_TEXT, False)]:
        arrived = decode_failure(encode_failure(ValueError("x" * length), executed=True, declare=declare))
        assert isinstance(arrived, HandlerFailed)
        assert (arrived.declared is not None) == there
    many = ExceptionGroup("many", [ValueError("x" * 3_000) for _ in range(20)])
    record = encode_failure(many, executed=True, declare=declare)
    assert len(record) < MAX_TEXT + 64 * 64


def test_frames_are_part_of_a_traceback_and_the_cause_is_the_cause() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        arrived = travelled(error)
    assert "test_failures.py" in "".join(arrived.__notes__)
    assert isinstance(arrived, HandlerFailed)
    assert arrived.__cause__ is arrived.remote_cause is not None


@pytest.mark.parametrize(
    "grown",
    [[5], [["E"]], [[5, b""]], [["E", "text"]], [None, 5], [None, None, 5], [None, "n", ["k"]]],
)
def test_a_malformed_item_that_a_tree_has_grown_is_refused(grown: list[object]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_failure(encode([13, "", True, None, ["T", "m", "f", None, [], *grown]]))


def test_items_that_a_tree_may_grow_are_ignored() -> None:
    arrived = decode_failure(encode([13, "", True, None, ["T", "m", "f", None, [], ["E", b"", 1], "n", "k", 5, 6]]))
    assert isinstance(arrived, HandlerFailed)
    assert (arrived.declared, arrived.node, arrived.key) == (("E", b""), "n", "k")
