"""Which errors are raised at the caller as themselves: declared types, built-in ones, groups; what cannot be made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimring.codec import encode
from swimring.errors import ConfigError, HandlerFailed, Overloaded
from swimring.mux import decode_failure, encode_failure
from swimring.service import BUILT_IN, UNDECLARED, ErrorTypes, Service, as_told, raise_as_declared

app = Service("shop")


@app.error
class SoldOut(Exception):
    """Made of its args."""


@app.error
@dataclass
class Quota(Exception):
    used: int
    limit: int = 10

    def __str__(self) -> str:
        return f"{self.used} of {self.limit}"


@app.error
class NoSuchShelf(LookupError):
    """With a text that its own `__init__` could not take back."""

    def __init__(self, name: str, *, floor: int = 0) -> None:
        super().__init__(f"no shelf {name} on floor {floor}")
        self.name = name
        self.floor = floor


@app.error
class Forgetful(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"forgot {name}")


@app.error
class Choosy(Exception):
    def __init__(self, size: int) -> None:
        if size > 5:
            raise RuntimeError("too large")
        super().__init__(size)
        self.size = size


class Undeclared(Exception):
    pass


class Subclass(SoldOut):
    pass


types = ErrorTypes(setting="service shop")
for kind in (SoldOut, Quota, NoSuchShelf, Forgetful, Choosy):
    types.declare(kind)


def told(error: Exception, *, declare: Any = types.describe) -> HandlerFailed:
    failed = decode_failure(encode_failure(error, executed=True, declare=declare), key="k", owner="n1")
    assert isinstance(failed, HandlerFailed)
    return failed


def arrived(error: Exception, known: ErrorTypes = types) -> Exception:
    return known.rebuild(told(error))


def test_a_declared_error_arrives_as_itself_with_everything_told_as_its_cause() -> None:
    error = arrived(SoldOut("apples", 3, None, b"x"))
    assert type(error) is SoldOut
    assert error.args == ("apples", 3, None, b"x")
    failed = error.__cause__
    assert isinstance(failed, HandlerFailed)
    assert (failed.owner, failed.node, failed.key, failed.maybe_executed) == ("n1", "n1", "k", True)
    assert failed.type_name.endswith("SoldOut")
    assert as_told(error) is failed
    assert as_told(failed) is failed


def test_a_dataclass_travels_by_its_fields_whatever_its_text() -> None:
    error = arrived(Quota(7))
    assert isinstance(error, Quota)
    assert (error.used, error.limit, str(error), error.args) == (7, 10, "7 of 10", (7, 10))


def test_an_init_of_its_own_gets_its_parameters_from_the_attributes_of_the_same_names() -> None:
    error = arrived(NoSuchShelf("b", floor=2))
    assert isinstance(error, NoSuchShelf)
    assert (error.name, error.floor, str(error)) == ("b", 2, "no shelf b on floor 2")


@pytest.mark.parametrize(
    "error",
    [
        Forgetful("name"),  # keeps no attribute to read its parameter from
        SoldOut(object()),
        SoldOut(*range(9)),
        SoldOut("x" * 20_000),
        SoldOut(10**2000),
        Quota("seven"),  # type: ignore[arg-type]  # against its own annotation
        Subclass("x"),
        Undeclared("x"),
        RuntimeError("x"),
        AssertionError(),
        ValueError(Undeclared("x")),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_declared_or_has_arguments_that_cannot_travel_is_told_and_not_raised(error: Exception) -> None:
    failed = arrived(error)
    assert isinstance(failed, HandlerFailed)
    assert failed.declared is None
    assert failed.type_name.endswith(type(error).__qualname__)


def test_an_error_that_refuses_to_be_made_is_told() -> None:
    whole = told(Choosy(5))
    assert isinstance(types.rebuild(whole), Choosy)
    for declared in [
        ("Choosy", encode({"size": 6})),
        ("Choosy", encode({"size": "5"})),
        ("Choosy", encode({"size": 5, "more": 5})),
        ("Choosy", encode({})),
        ("Choosy", encode([5])),
        ("Choosy", b"\xff"),
        ("Choosy", b""),
        ("SoldOut", encode({"a": 1})),
        ("SoldOut", encode([0] * 9)),
        ("Quota", encode({"used": 1, "limit": None})),
        ("Quota", encode({"args": []})),
        ("OSError", encode([2, "x"])),
        ("eval", encode(["1"])),
        ("builtins.ValueError", encode(["x"])),
        ("Cancelled", encode([])),
        ("KeyboardInterrupt", encode([])),
    ]:
        failed = HandlerFailed(type_name="T", message="m", declared=declared)
        assert types.rebuild(failed) is failed, declared


@pytest.mark.parametrize("kind", BUILT_IN)
def test_the_built_in_types_on_the_list_arrive_as_themselves_without_being_declared(kind: type[Exception]) -> None:
    error = arrived(kind("why", 7) if not issubclass(kind, OSError) else kind("why"), UNDECLARED)
    assert type(error) is kind
    assert error.args[0] == "why"


def test_the_error_of_a_file_keeps_its_number_and_name() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Path("/no/such/file").read_bytes()
    error = arrived(caught.value)
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.filename, str(error)) == (2, "/no/such/file", str(caught.value))


def test_who_knows_nothing_of_the_declaration_raises_what_was_told() -> None:
    failed = arrived(SoldOut("x"), UNDECLARED)
    assert isinstance(failed, HandlerFailed)
    assert isinstance(arrived(SoldOut("x"), ErrorTypes(setting="another service")), HandlerFailed)


def test_a_group_arrives_as_a_group_whose_members_follow_the_same_rule() -> None:
    nested = ExceptionGroup("inner", [ValueError("v"), Undeclared("u")])
    group = arrived(ExceptionGroup("outer", [SoldOut("s"), nested, Overloaded("busy")]))
    caught: list[object] = []
    try:
        raise group
    except* SoldOut as some:
        caught += some.exceptions
    except* ValueError as some:
        caught.append(str(some.exceptions[0]))
    except* HandlerFailed as some:
        caught.append(str(some))
    assert isinstance(caught[0], SoldOut)
    assert isinstance(caught[0].__cause__, HandlerFailed)
    assert len(caught) == 3
    assert isinstance(group, ExceptionGroup)
    assert group.message == "outer"
    assert isinstance(group.__cause__, HandlerFailed)
    left = group.subgroup(HandlerFailed)
    assert left is not None
    busy = left.exceptions[-1]
    assert isinstance(busy, HandlerFailed), "an outcome of a call inside a group is no outcome of this call"
    assert busy.type_name == "swimring.errors.Overloaded"
    assert busy.maybe_executed


def test_a_group_without_members_is_told() -> None:
    failed = HandlerFailed(type_name="ExceptionGroup", message="m", declared=("ExceptionGroup", b""))
    assert types.rebuild(failed) is failed


def test_an_error_that_passes_through_is_raised_by_whoever_declares_it_and_tells_the_whole_story() -> None:
    try:
        raise_as_declared(told(SoldOut("far")), types)
    except SoldOut as error:
        again = arrived(error)
    assert isinstance(again, SoldOut)
    failed = again.__cause__
    assert isinstance(failed, HandlerFailed)
    behind = failed.remote_cause
    assert behind is not None
    assert (behind.node, behind.key, behind.message) == ("n1", "k", "far")
    assert [one.type_name.rpartition(".")[2] for one in failed.walk()] == ["SoldOut", "SoldOut"]


def test_what_was_told_of_another_service_is_never_raised_by_the_name_it_has_there() -> None:
    class SoldOut(Exception):  # another type that happens to have the name
        pass

    other = ErrorTypes(setting="other")
    other.declare(SoldOut)
    failed = told(told(Quota(1)))
    assert failed.declared is None
    assert other.rebuild(failed) is failed


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (type("ValueError", (Exception,), {}), "each name once"),
        (type("ExceptionGroup", (Exception,), {}), "each name once"),
        (type("SoldOut", (Exception,), {}), "each name once"),
        (type("Long" * 40, (Exception,), {}), "128"),
        (type("Busy", (Overloaded,), {}), "rules of their own"),
        (type("Several", (ExceptionGroup,), {}), "rules of their own"),
        (KeyboardInterrupt, "subclass of Exception"),
        (dataclass(frozen=True)(type("Frozen", (Exception,), {})), "frozen"),
    ],
)
def test_what_cannot_be_declared_is_a_config_error(kind: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        app.error(kind)
    with pytest.raises(ConfigError, match=complaint):
        Service("shop", errors=[SoldOut, kind])


def test_an_init_that_does_not_say_what_it_takes_cannot_be_declared() -> None:
    class Loose(Exception):
        def __init__(self, *args: object) -> None: ...

    class Complex(Exception):
        def __init__(self, number: complex) -> None: ...

    for kind in (Loose, Complex):
        with pytest.raises(ConfigError, match=kind.__name__):
            app.error(kind)


def test_declaring_twice_is_declaring_once() -> None:
    some = ErrorTypes(setting="s")
    some.declare(SoldOut)
    some.declare(SoldOut)
    assert some.declared == (SoldOut,)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
named = st.sampled_from(["SoldOut", "Quota", "NoSuchShelf", "Choosy", *(kind.__name__ for kind in BUILT_IN)])
arguments = st.one_of(
    values,
    st.fixed_dictionaries({"used": values}, optional={"limit": values}),
    st.fixed_dictionaries({"name": values}, optional={"floor": values}),
)


@settings(max_examples=300, deadline=None)
@given(named, arguments.map(encode) | st.binary(max_size=20))
def test_whatever_is_sent_only_a_declared_type_or_the_failure_is_made(name: str, sent: bytes) -> None:
    failed = HandlerFailed(type_name="T", message="m", declared=(name, sent))
    made = types.rebuild(failed)
    assert made is failed or type(made).__name__ == name
