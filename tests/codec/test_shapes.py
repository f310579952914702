from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import pytest

from swimring.codec import ShapeError, checker, decode, encode, register, resolve_hints
from swimring.errors import ConfigError
from tests.names import named

T = TypeVar("T")
UserId = NewType("UserId", str)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Text(enum.StrEnum):
    A = "a"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Line:
    product: UserId
    price: Decimal
    _: KW_ONLY
    count: int = 1
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Order:
    lines: list[Line]
    colour: Colour = Colour.RED
    total: int = field(init=False, default=0)


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)
    parent: Tree | None = None


@dataclass
class Positive:
    number: int

    def __post_init__(self) -> None:
        if self.number <= 0:
            raise ValueError("not positive")


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Draft(TypedDict, total=False):
    title: Required[str]
    year: int


class Point(NamedTuple):
    x: int
    y: int = 0


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]  # nothing here hashes it


def load_money(value: Any) -> Money:
    if not isinstance(value, str):
        raise TypeError("money is text")
    return Money(int(value))


register(Money, dump=lambda money: str(money.cents), load=load_money)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

ROUND_TRIPS: list[tuple[Any, object]] = [
    (None, None),
    (bool, True),
    (int, 5),
    (int, 2**70),
    (float, 1.5),
    (str, "a"),
    (bytes, b"a"),
    (datetime, NOW),
    (Decimal, Decimal("1.50")),
    (UUID, UUID(int=1)),
    (Any, {"a": [1, None]}),
    (Any | None, [1]),
    (object, "x"),
    (Optional[int], None),  # noqa: UP045 (the old spelling)
    (Union[int, str], "x"),  # noqa: UP007 (the old spelling)
    (int | str | None, 3),
    (float | int, 3),
    (int | float, 3.0),
    (list[int] | str, [1]),
    (list[int] | dict[str, int] | None, {"a": 1}),
    (Order | list[str], ["a"]),
    (Literal["a", 1, True, None], True),
    (Literal["a", 1, True, None], 1),
    (Literal["a"] | int, "a"),
    (Literal[Colour.RED], Colour.RED),
    (Colour, Colour.BLUE),
    (Colour | None, Colour.BLUE),
    (Level, Level.HIGH),
    (Text, Text.A),
    (Rights, Rights.READ | Rights.WRITE),
    (UserId, "u"),
    (Annotated[int, ["unhashable"]], 4),
    (list, [1, "a"]),
    (list[Colour], [Colour.RED]),
    (Sequence[int], [1, 2]),
    (tuple, (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[int, str], (1, "a")),
    (tuple[()], ()),
    (set[int], {1, 2}),
    (set[str], {"a"}),
    (frozenset[tuple[int, str]], frozenset({(1, "a")})),
    (Set[str], frozenset({"a"})),
    (dict, {"a": 1, b"b": 2}),
    (dict[str, list[int]], {"a": [1]}),
    (dict[bytes, int], {b"a": 1}),
    (dict[UserId, int], {"a": 1}),
    (dict[Colour, int], {Colour.RED: 1}),
    (Mapping[Literal["a", "b"], int], {"a": 1}),
    (Line, Line(UserId("p"), Decimal(1), count=2, notes=["n"])),
    (Order, Order(lines=[Line(UserId("p"), Decimal(1))], colour=Colour.BLUE)),
    (Tree, Tree(1, [Tree(2, [Tree(3)])])),
    (Box[int], Box(1, [2])),
    (Box[Line], Box(Line(UserId("p"), Decimal(1)))),
    (Movie, {"title": "t"}),
    (Movie, {"title": "t", "year": 1999}),
    (Draft, {"title": "t"}),
    (Point, Point(1, 2)),
    (list[Point], [Point(1)]),
    (Money, Money(5)),
    (Money | None, Money(5)),
    (Money | None, None),
    (dict[str, Money], {"a": Money(5)}),
]


@pytest.mark.parametrize(("annotation", "value"), ROUND_TRIPS, ids=named)
def test_a_value_survives_the_wire(annotation: object, value: object) -> None:
    compiled = checker(annotation)
    loaded = compiled.load(decode(encode(compiled.dump(value))))
    assert loaded == value
    assert type(loaded) is type(value)
    assert compiled.load(compiled.dump(value)) == value  # a call that stays on its node


MISFITS: list[tuple[Any, object, str]] = [
    (int, True, "found bool True, allowed is int"),
    (int, 1.0, "found float 1.0, allowed is int"),
    (int, "1", "found str '1', allowed is int"),
    (float, True, "found bool True, allowed is float"),
    (float, 10**400, "found int, allowed is float"),
    (bool, 1, "found int 1, allowed is bool"),
    (str, b"a", "found bytes b'a', allowed is str"),
    (str, None, "found None, allowed is str"),
    (bytes, "a", "allowed is bytes"),
    (datetime, datetime(2020, 1, 1), "datetime with a time zone"),
    (Decimal, 1, "allowed is Decimal"),
    (UUID, "x", "allowed is UUID"),
    (None, 0, "found int 0, allowed is None"),
    (int | None, "x", "found str 'x', allowed is int | None"),
    (int | str, 1.5, "allowed is int | str"),
    (Literal["a", 1], True, "found bool True, allowed is 'a' or 1"),
    (Literal["a"], [], "found list of 0"),
    (list[int], {"a": 1}, "found dict of 1, allowed is list[int]"),
    (list[int], "ab", "allowed is list[int]"),
    (list[int], [1, 2, "x"], "[2]: found str 'x', allowed is int"),
    (Sequence[str], "text", "allowed is list[str]"),
    (tuple[int, str], [1], "found list of 1, allowed is tuple[int, str]"),
    (tuple[int, str], [1, 2], "[1]: found int 2, allowed is str"),
    (dict[Literal["a"], object], {"b": 1}, "found str 'b', allowed is 'a'"),
    (dict[str, object], {b"a": 1}, "found bytes b'a', allowed is str"),
    (dict[str, int], {"a": "x"}, "a: found str 'x', allowed is int"),
    (dict[str, int], {b"a": 1}, "b'a': found bytes b'a', allowed is str"),
    (dict[str, dict[str, list[int]]], {"a": {"b": [0, None]}}, "a.b[1]: found None, allowed is int"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), MISFITS, ids=named)
def test_a_misfit_is_named_with_its_place(annotation: object, value: object, text: str) -> None:
    compiled = checker(annotation)
    for convert in (compiled.load, compiled.dump):
        with pytest.raises(ShapeError) as caught:
            convert(value)
        assert text in str(caught.value)


STRANGE: list[tuple[Any, object, str]] = [
    (Line, {"product": "p"}, "price: found nothing"),
    (Line, {"product": "p", "price": Decimal(1), "colour": 1}, "colour: found an unknown name"),
    (Line, ["p"], "found list of 1, allowed is Line"),
    (Order, {"lines": [{"product": "p", "price": "1"}]}, "lines[0].price: found str '1', allowed is Decimal"),
    (Order, {"lines": [], "total": 5}, "total: found an unknown name"),
    (Order | None, {"lines": [1]}, "lines[0]: found int 1, allowed is Line"),
    (Order | list[str], {"lines": [1]}, "lines[0]: found int 1, allowed is Line"),
    (Positive, {"number": -1}, "not positive"),
    (Movie, {"year": 1}, "title: found nothing"),
    (Movie, {"title": "t", "yaer": 1}, "yaer: found an unknown name"),
    (Movie, {"title": "t", 5: 1}, "5: found an unknown name"),
    (Draft, {}, "title: found nothing"),
    (set[int], 5, "found int 5, allowed is set[int]"),
    (set[int], [1, "x"], "[1]: found str 'x'"),
    (Point, [], "allowed is Point"),
    (Point, [1, 2, 3], "allowed is Point"),
    (Point, [1, "x"], "[1]: found str 'x'"),
    (Colour, "green", "Colour ('red', 'blue')"),
    (Colour, ["red"], "Colour ('red', 'blue')"),
    (Level, True, "allowed is Level (1, 2)"),
    (Rights, 8, "an int of Rights"),
    (Money, 5, "money is text"),
    (Money, "x", "Money (invalid literal"),
    (Box[int], {"content": "x"}, "content: found str 'x', allowed is int"),
    (set[int], list(range(5000)), "at most 4096"),
    (set[Any], [[]], "hashable"),
    (Tree, {"value": 1, "children": [{"value": "x"}]}, "children[0].value"),
]


@pytest.mark.parametrize(("annotation", "wire", "text"), STRANGE)
def test_a_stranger_s_misfit_is_named_with_its_place(annotation: object, wire: object, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        checker(annotation).load(wire)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Colour, "red"),
        (Line, {"product": "p"}),
        (Money, "5"),
        (set[int], [1]),
        (set[int], set(range(5000))),
        (Tree, Box(1)),
        (Rights, 1),
        (Rights, Level.LOW),
    ],
)
def test_our_own_user_passes_python_values_not_wire_values(annotation: object, value: object) -> None:
    with pytest.raises(ShapeError):
        checker(annotation).dump(value)


def test_an_int_is_taken_where_a_float_is_asked_and_becomes_one() -> None:
    assert type(checker(float).load(1)) is float
    assert type(checker(float | None).load(1)) is float
    assert type(checker(float | int).load(1)) is int
    assert type(checker(int | float).dump(1)) is int
    assert type(checker(float | int).dump(1)) is int
    assert math.isnan(checker(float).load(math.nan))


def test_relatives_of_a_scalar_become_the_plain_type() -> None:
    class Mixed(str, enum.Enum):  # noqa: UP042 (the old spelling is the point)
        A = "a"

    for annotation, value, plain in [
        (str, Text.A, "a"),
        (str, Mixed.A, "a"),
        (int, Level.LOW, 1),
        (int | str, Level.LOW, 1),
        (bytes, memoryview(b"a"), b"a"),
        (bytes, bytearray(b"a"), b"a"),
    ]:
        taken = checker(annotation).dump(value)
        assert taken == plain
        assert type(taken) is type(plain)


def test_of_a_long_value_only_the_beginning_is_shown() -> None:
    for value in ("x" * 100 + "secret", b"x" * 100 + b"secret", ["secret"], {"a": "secret"}):
        with pytest.raises(ShapeError) as caught:
            checker(int).load(value)
        assert "secret" not in str(caught.value)
        assert len(str(caught.value)) < 100


def test_a_value_that_contains_itself_is_refused() -> None:
    tree = Tree(1)
    tree.children.append(tree)
    with pytest.raises(ShapeError, match="a nesting that ends"):
        checker(Tree).dump(tree)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (complex, "codec.register"),
        (range, "codec.register"),
        ([int], "codec.register"),
        (type, "codec.register"),
        (T, "codec.register"),
        ("str", "codec.register"),
        (list["Nowhere"], "codec.register"),  # type: ignore[name-defined]  # noqa: F821
        (dict[int, str], "keys of a map are str, bytes"),
        (dict[Any, str], "keys of a map are str, bytes"),
        (dict[str | int, str], "keys of a map are str, bytes"),
        (Line | Order, "Line and Order look alike"),
        (list[int] | tuple[int, ...], "look alike"),
        (Colour | str, "look alike"),
        (Money | str, "None only"),
        (list[complex], "codec.register"),
        (Box, "needs its arguments"),
    ],
)
def test_an_annotation_that_cannot_be_checked_is_a_config_error(annotation: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        checker(annotation, setting="greet(name)")
    assert caught.value.setting in ("greet(name)", "Box")


def test_a_field_that_cannot_be_checked_is_named() -> None:
    @dataclass
    class Holder:
        part: complex

    Holder.__annotations__["part"] = complex
    with pytest.raises(ConfigError, match=r"Holder\.part"):
        checker(Holder)


def test_an_init_only_field_is_a_config_error() -> None:
    @dataclass
    class Holder:
        part: InitVar[int]

    with pytest.raises(ConfigError, match="InitVar"):
        checker(Holder)


def test_an_enumeration_of_objects_is_a_config_error() -> None:
    class Odd(enum.Enum):
        A = object()

    with pytest.raises(ConfigError, match="scalars"):
        checker(Odd)


def test_a_name_that_does_not_exist_at_run_time_is_a_config_error() -> None:
    def handler(one: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigError, match="TYPE_CHECKING"):
        resolve_hints(handler, "handler")
