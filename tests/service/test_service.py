from __future__ import annotations

import functools
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pytest

from swimring.errors import ConfigError, InvalidRequest, LocalProtocolError, NoSuchHandler, RemoteProtocolError
from swimring.service import Channel, Dispatcher, Request, Service
from tests.service.nodes import NamedNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.service import Request as OnlyForTypeCheckers

P = ParamSpec("P")
R = TypeVar("R")


app = Service("hello")


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    age: int = 0


@app.on({"cmd": "greet"}, idempotent=True)
async def greet(request: Request, name: str, *, excited: bool = False) -> str:
    """Say hello."""
    return f"hello {name}{'!' * excited} from {request.node.name}"


@app.on("move")
async def move(request: OnlyForTypeCheckers, person: Person, to: list[int]) -> Person | None:
    return Person(person.name, sum(to)) if to else None


@app.on({"cmd": "put", "size": int, "kind": "small", "at": {"zone": str}})
async def put_small(request: Request, size: int, at: dict[str, str]) -> int:
    return size


@app.on("collect")
async def collect(request: Request, /, first: int = 0, **rest: int) -> dict[str, int]:
    return {"first": first, **rest}


@app.on("nothing")
async def nothing(request: Request) -> None:
    return None


@app.on("loose")
async def loose(request, anything=None):  # type: ignore[no-untyped-def]  # unannotated on purpose
    return anything


dispatcher = Dispatcher([app, Service("empty")])


def request_for(message: dict[str, Any]) -> Request:
    return Request(node=NamedNode("n1"), key=message.get("key"), message=message, peer="n2")


async def ask(message: dict[str, Any]) -> Any:
    return await dispatcher.match(message).invoke(request_for(message))


# ------------------------------------------------------------------------------------------------------ there and back


async def test_a_message_reaches_the_handler_whose_pattern_it_matches() -> None:
    assert await ask({"ns": "hello", "cmd": "greet", "key": "k1", "name": "World"}) == "hello World from n1"


async def test_a_decorated_handler_is_called_like_the_function_it_is() -> None:
    request = Request(node=NamedNode("n1"))
    assert await greet(request, "World") == "hello World from n1"
    assert await greet(request, name="World", excited=True) == "hello World! from n1"
    assert greet.__wrapped__ is greet.function
    assert greet.__doc__ == "Say hello."


async def test_what_a_caller_makes_of_its_arguments_a_handler_takes() -> None:
    message = move.message((Person("Ada", 36),), {"to": [1, 2]})
    assert message == {"ns": "hello", "cmd": "move", "person": {"name": "Ada", "age": 36}, "to": [1, 2]}
    assert move.load_result(await ask(message)) == Person("Ada", 3)
    assert move.load_result(await ask(move.message((Person("Ada"), [])))) is None


async def test_a_default_is_left_to_the_handler() -> None:
    assert greet.message(("World",)) == {"ns": "hello", "cmd": "greet", "name": "World"}
    assert greet.message(("World",), {"excited": True})["excited"] is True


async def test_fields_that_the_pattern_asks_for_bind_only_if_they_are_parameters() -> None:
    message = put_small.message((3, {"zone": "a"}))
    assert message == {"ns": "hello", "cmd": "put", "kind": "small", "size": 3, "at": {"zone": "a"}}
    assert dispatcher.match(message).arguments == {"size": 3, "at": {"zone": "a"}}
    assert await ask(message) == 3


async def test_further_fields_go_to_a_handler_that_takes_them() -> None:
    message = collect.message((), {"a": 1, "b": 2})
    assert message == {"ns": "hello", "cmd": "collect", "a": 1, "b": 2}
    assert await ask({**message, "first": 5}) == {"first": 5, "a": 1, "b": 2}


async def test_without_annotations_everything_passes_as_it_is() -> None:
    assert await ask({"ns": "hello", "cmd": "loose", "anything": [1, {"a": b"b"}]}) == [1, {"a": b"b"}]


def test_an_endpoint_knows_what_a_caller_needs() -> None:
    assert (greet.service, greet.cmd, greet.idempotent) == ("hello", "greet", True)
    assert not move.idempotent
    assert repr(greet) == "<Endpoint hello:greet>"
    assert dispatcher.services == ("hello", "empty")


def test_streams_are_named_beside_the_endpoint() -> None:
    both = nothing.with_streams(file=b"abc", log=None)
    assert both.endpoint is nothing
    assert both.streams == {"file": b"abc", "log": None}


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"ns": "hello", "cmd": "greet"}, "hello:greet: name: found nothing, allowed is str, which is required"),
        ({"ns": "hello", "cmd": "greet", "name": 5}, "hello:greet: name: found int 5, allowed is str"),
        ({"ns": "hello", "cmd": "greet", "name": "a", "excited": 1}, "excited: found int 1, allowed is bool"),
        (
            {"ns": "hello", "cmd": "greet", "name": "a", "loud": 1},
            "loud: found an unknown field, allowed is one of name",
        ),
        ({"ns": "hello", "cmd": "greet", "name": "a", b"loud": 1}, "b'loud': found an unknown field"),
        ({"ns": "hello", "cmd": "move", "person": {"name": 1}, "to": []}, "person.name: found int 1, allowed is str"),
        ({"ns": "hello", "cmd": "move", "person": {"name": "a"}, "to": [1, None]}, "to[1]: found None, allowed is int"),
        ({"ns": "hello", "cmd": "nothing", "x": 1}, "x: found an unknown field, allowed is no field"),
        ({"ns": "hello", "cmd": "collect", "a": "x"}, "a: found str 'x', allowed is int"),
        ({"ns": "hello", "cmd": "collect", b"a": 1}, "b'a': found an unknown field"),
    ],
)
def test_a_field_that_does_not_fit_is_named(message: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(text)) as caught:
        dispatcher.match({**message, "key": "k1"})
    assert caught.value.key == "k1"
    assert caught.value.maybe_executed is False


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "name: found nothing"),
        ((5,), {}, "name: found int 5, allowed is str"),
        (("a", True), {}, "found 2 positional arguments, allowed is at most 1"),
        (("a",), {"name": "b"}, "name: found two values"),
        (("a",), {"loud": 1}, "loud: found an unknown field"),
        (("a",), {"key": "k"}, "key: found an unknown field"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(
    args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text):
        greet.message(args, kwargs)


def test_a_routing_field_cannot_be_smuggled_in_as_a_further_argument() -> None:
    for name in ("ns", "cmd", "key"):
        with pytest.raises(InvalidRequest, match=f"{name}: found an unknown field"):
            collect.message((), {name: 1})


def test_a_method_of_nothing_in_particular_cannot_be_a_handler() -> None:
    class Callable:
        async def __call__(self, request: Request) -> None: ...

    with pytest.raises(ConfigError, match="async def"):
        Service("s").on("x")(Callable())


def test_a_call_whose_message_would_not_match_its_own_pattern_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidRequest, match="at is not"):
        put_small.message((3, {"town": "a"}))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"ns": "hello", "cmd": "gret"}, "nearest is {'ns': 'hello', 'cmd': 'greet'}: cmd is not 'greet'"),
        ({"ns": "helo", "cmd": "greet"}, "no handler for ns 'helo', cmd 'greet'; nearest is"),
        ({"cmd": "greet"}, "ns is missing"),
        ({"ns": 5, "cmd": ["greet"]}, "no handler for ns '5'"),
        ({}, "no handler for this message; nearest is"),
    ],
)
def test_a_message_nobody_answers_is_told_the_nearest_pattern(message: dict[str, Any], text: str) -> None:
    with pytest.raises(NoSuchHandler, match=re.escape(text)):
        dispatcher.match(message)


def test_a_node_without_services_says_so() -> None:
    with pytest.raises(NoSuchHandler, match="offers no service"):
        Dispatcher([]).match({"ns": "hello"})


async def test_a_result_that_breaks_its_annotation_is_a_bug_of_the_handler() -> None:
    service = Service("s")

    @service.on("lie")
    async def lie(request: Request) -> int:
        return "text"  # type: ignore[return-value]  # the bug

    with pytest.raises(LocalProtocolError, match=r"s:lie returned .* found str 'text', allowed is int"):
        await Dispatcher([service]).match(lie.message()).invoke(request_for({}))


def test_a_result_that_arrives_in_another_shape_is_the_fault_of_the_peer() -> None:
    with pytest.raises(RemoteProtocolError, match=r"hello:greet returned .* found int 5, allowed is str"):
        greet.load_result(5)


# ------------------------------------------------------------------------------------------------------- the default


async def test_the_default_handler_answers_what_no_pattern_matches() -> None:
    service = Service("s")

    @service.default
    async def rest(request: Request, number: int = 0) -> list[object]:
        return [number, dict(request.message)]

    @service.on("known")
    async def known(request: Request) -> str:
        return "known"

    both = Dispatcher([service])
    message = {"ns": "s", "cmd": "odd", "number": 5, "other": None}
    assert await both.match(message).invoke(request_for(message)) == [5, message]
    assert both.match({"ns": "s", "cmd": "known"}).endpoint is known
    assert service.endpoints == (known, rest)
    with pytest.raises(InvalidRequest, match="number"):
        both.match({**message, "number": "x"})
    with pytest.raises(NoSuchHandler):
        both.match({"ns": "t", "cmd": "odd"})


@pytest.mark.parametrize(("order", "winner"), [("depth", "narrow"), ("insertion", "wide")])
def test_a_service_lets_the_most_specific_pattern_win_or_the_first_and_the_default_last(
    order: str, winner: str
) -> None:
    service = Service("s", order=order)

    @service.default
    async def rest(request: Request, size: int = 0) -> None: ...

    @service.on({"cmd": "put"})
    async def wide(request: Request, size: int) -> None: ...

    @service.on({"cmd": "put", "size": int})
    async def narrow(request: Request, size: int) -> None: ...

    both = Dispatcher([service])
    assert both.match({"ns": "s", "cmd": "put", "size": 1}).endpoint.function.__name__ == winner
    assert both.match({"ns": "s", "cmd": "get"}).endpoint is rest
    with pytest.raises(ConfigError, match="one of 'depth', 'insertion'"):
        Service("s", order="random")


def test_there_is_one_default_handler() -> None:
    service = Service("s")

    @service.default
    async def one(request: Request) -> None: ...

    async def two(request: Request) -> None: ...

    with pytest.raises(ConfigError, match="second default handler"):
        service.default(two)


# -------------------------------------------------------------------------------------------------------- registration


async def takes_ns(request: Request, ns: str) -> None: ...
async def takes_cmd(request: Request, *, cmd: str) -> None: ...
async def takes_key(request: Request, key: str) -> None: ...
async def takes_positional_only(request: Request, name: str, /) -> None: ...
async def takes_any_number(request: Request, *names: str) -> None: ...
async def takes_nothing() -> None: ...
async def takes_only_keywords(*, request: Request) -> None: ...
async def takes_complex(request: Request, number: complex) -> None: ...
async def returns_complex(request: Request) -> complex:
    return 1j


async def takes_unknown(request: Request, one: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def is_not_async(request: Request) -> None: ...


async def yields_unchecked(request: Request) -> AsyncIterator[complex]:
    yield 1j


async def yields_one(request: Request) -> int:  # type: ignore[misc]
    yield 1


async def yields_with_channel(channel: Channel[int, int]) -> AsyncIterator[int]:
    yield 1


async def talks_unchecked(channel: Channel[int, complex]) -> None: ...


async def talks_of_unknown(channel: Channel[int, Nowhere]) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (takes_ns, "parameter named ns.*request.message"),
        (takes_cmd, "parameter named cmd.*request.message"),
        (takes_key, "parameter named key.*read request.key"),
        (takes_positional_only, "positional-only name"),
        (takes_any_number, r"\*names.*take a list"),
        (takes_nothing, "takes the request first"),
        (takes_only_keywords, "takes the request first"),
        (takes_complex, r"handler takes_complex\(number\).*codec.register"),
        (returns_complex, "handler returns_complex -> result.*codec.register"),
        (takes_unknown, "TYPE_CHECKING"),
        (is_not_async, "async def"),
        (yields_unchecked, "handler yields_unchecked -> item.*codec.register"),
        (yields_one, r"annotated as AsyncIterator\[...\]"),
        (yields_with_channel, "what yields takes a Request"),
        (talks_unchecked, "items sent.*codec.register"),
        (talks_of_unknown, "TYPE_CHECKING"),
        (Person, "async def"),
    ],
)
def test_a_function_that_cannot_be_a_handler_is_a_config_error(handler: Any, text: str) -> None:
    service = Service("s")
    for register in (service.on("x"), service.default):
        with pytest.raises(ConfigError, match=text):
            register(handler)
    assert service.endpoints == ()


async def test_a_request_may_be_positional_only_and_annotated_for_type_checkers_only() -> None:
    service = Service("s")

    @service.on("x")
    async def handler(request: OnlyForTypeCheckers, /, **rest: Any) -> list[str]:
        return sorted(rest)

    message = {"ns": "s", "cmd": "x", "request": 1, "self": 2}
    assert await Dispatcher([service]).match(message).invoke(request_for(message)) == ["request", "self"]


def test_a_further_field_cannot_take_the_place_of_the_request() -> None:
    service = Service("s")

    @service.on("x")  # type: ignore[arg-type]  # a type checker asks for `request, /` here
    async def handler(request: Request, **rest: Any) -> None: ...

    with pytest.raises(InvalidRequest, match="request: found an unknown field"):
        Dispatcher([service]).match({"ns": "s", "cmd": "x", "request": 1})
    with pytest.raises(InvalidRequest, match="request: found an unknown field"):
        handler.message((), {"request": 1})


async def test_methods_and_partial_functions_can_be_handlers() -> None:
    class Counter:
        total = 0

        async def add(self, request: Request, number: int) -> int:
            self.total += number
            return self.total

    async def scaled(factor: int, request: Request, number: int) -> int:
        return factor * number

    service = Service("s")
    service.on("add")(Counter().add)
    service.on("scale")(functools.partial(scaled, 3))
    both = Dispatcher([service])
    for cmd, result in [("add", 5), ("add", 10), ("scale", 15)]:
        assert await both.match({"ns": "s", "cmd": cmd, "number": 5}).invoke(request_for({})) == result


async def test_a_function_may_answer_several_patterns() -> None:
    service = Service("s")

    @service.on("one")
    @service.on("two")
    async def handler(request: Request) -> str:
        return "answer"

    assert [endpoint.cmd for endpoint in service.endpoints] == ["two", "one"]
    assert await handler(Request(node=NamedNode("n"))) == "answer"


@pytest.mark.parametrize(
    "pattern", ["greet", "cmd:greet", "ns:s,cmd:greet", {"cmd": "greet"}, {"ns": "s", "cmd": "greet"}]
)
def test_the_name_of_the_service_is_the_namespace(pattern: Any) -> None:
    service = Service("s")

    @service.on(pattern)
    async def handler(request: Request) -> None: ...

    assert handler.message() == {"ns": "s", "cmd": "greet"}
    with pytest.raises(ConfigError, match="a pattern is registered once"):
        service.on("ns:s,cmd:greet")(handler)


@pytest.mark.parametrize("pattern", ["ns:other,cmd:x", {"ns": ..., "cmd": "x"}, {"ns": str}])
def test_a_service_answers_in_its_own_namespace_only(pattern: Any) -> None:
    with pytest.raises(ConfigError, match="the name of the service"):
        Service("s").on(pattern)


def test_names_are_checked() -> None:
    with pytest.raises(ConfigError):
        Service("a b")
    with pytest.raises(ConfigError, match="each name once"):
        Dispatcher([Service("a"), Service("a")])


NO_EVENT_LOOP = """
import sys
import swimring.service, swimring.codec
print(sorted({"trio", "anyio"} & set(sys.modules)))
"""


def test_declaring_a_service_imports_no_event_loop() -> None:
    run = subprocess.run([sys.executable, "-c", NO_EVENT_LOOP], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
