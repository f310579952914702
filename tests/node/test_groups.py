from __future__ import annotations

import pytest
import trio

from swimring.node.groups import lone_error_raised_bare


def wrapped(error: BaseException, times: int) -> BaseException:
    for _ in range(times):
        error = BaseExceptionGroup("nursery", [error])
    return error


@pytest.mark.parametrize("times", [0, 1, 3])
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_a_lone_error_comes_out_bare(error: BaseException, times: int) -> None:
    with pytest.raises(type(error)) as caught, lone_error_raised_bare():
        raise wrapped(error, times)
    assert caught.value is error


def test_nothing_raised_is_nothing_raised() -> None:
    with lone_error_raised_bare():
        pass


def test_several_errors_stay_a_group() -> None:
    group = ExceptionGroup("two", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as caught, lone_error_raised_bare():
        raise wrapped(group, 2)
    assert caught.value is group, "but the wrapping of the group is taken off"


def test_a_group_that_the_block_raised_is_its_error() -> None:
    mine = ExceptionGroup("mine", [ValueError()])
    with pytest.raises(ExceptionGroup) as caught, lone_error_raised_bare() as block:
        try:
            with block.watched():
                raise mine
        except ExceptionGroup as error:
            raise wrapped(error, 2) from None
    assert caught.value is mine


def test_cause_and_context_of_the_error_are_kept_and_the_wrapping_is_not_added() -> None:
    try:
        try:
            raise KeyError("context")
        except KeyError:
            raise ValueError("error") from OSError("cause")
    except ValueError as error:
        original = error
    with pytest.raises(ValueError, match="error") as caught, lone_error_raised_bare():
        raise wrapped(original, 2)
    assert isinstance(caught.value.__context__, KeyError)
    assert isinstance(caught.value.__cause__, OSError)


def test_an_error_without_context_gets_none() -> None:
    with pytest.raises(ValueError, match="x") as caught, lone_error_raised_bare():
        raise wrapped(ValueError("x"), 2)
    assert caught.value.__context__ is None


async def test_cancellation_passes_to_the_scope_it_belongs_to() -> None:
    with trio.CancelScope() as scope:
        with lone_error_raised_bare():
            async with trio.open_nursery():
                scope.cancel()
                await trio.sleep_forever()
        raise AssertionError("this never runs")
    assert scope.cancelled_caught


async def test_an_error_beside_a_cancellation_comes_out_of_the_scope() -> None:
    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cancelled")

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True, allow_unwrapped=True), trio.CancelScope() as scope:
        with lone_error_raised_bare():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_late)
                await trio.lowlevel.checkpoint()
                scope.cancel()
                await trio.sleep_forever()
