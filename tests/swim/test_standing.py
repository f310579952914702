from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import decode, encode
from swimring.errors import ConfigError, RemoteProtocolError
from swimring.swim import FULL_SHARE, MAX_HOLD, ORDINARY, Metadata, Phase, Standing

PLAIN = Metadata(services=("kv",), weight=2, zone="z", version="1", tags={"a": "b"})
standings = st.builds(
    Standing,
    phase=st.integers(0, 4),
    share=st.integers(0, FULL_SHARE),
    hold=st.integers(0, MAX_HOLD),
    stateful=st.booleans(),
    bringing=st.booleans(),
)


def test_who_says_nothing_takes_all_and_has_the_bytes_it_had() -> None:
    assert PLAIN.standing == ORDINARY
    assert PLAIN.ring_weight == 2
    assert PLAIN.with_standing(ORDINARY) == PLAIN
    assert PLAIN.with_standing(Standing(share=4)).with_standing(ORDINARY).to_wire() == PLAIN.to_wire()


def test_the_bytes_of_a_standing_stay_the_same_from_release_to_release() -> None:
    told = PLAIN.with_standing(Standing(phase=Phase.CORDONED, share=4, hold=30, stateful=True))
    assert told.to_wire() == [["kv"], 2, "z", "1", {"a": "b"}, None, None, [1, 4, 30, True]]
    assert encode(told.to_wire()).hex() == "8881626b7602617a6131a161616162f6f6840104181ef5"
    late = PLAIN.with_standing(Standing(stateful=True, bringing=True))
    assert late.to_wire() == [["kv"], 2, "z", "1", {"a": "b"}, None, None, [0, 16, 0, True, True]]


@given(standings, st.binary(min_size=8, max_size=8), st.lists(st.integers() | st.none(), max_size=3))
def test_a_standing_crosses_the_wire_beside_everything_else(
    standing: Standing, details: bytes, later: list[object]
) -> None:
    told = dataclasses.replace(PLAIN, details=details).with_standing(standing)
    assert Metadata.from_wire(decode(encode(told.to_wire()))) == told
    assert told.standing == standing
    wire = [*told.to_wire(), *[None] * (8 - len(told.to_wire())), *later, "later"]
    read = Metadata.from_wire(wire)
    assert (read.standing, encode(read.to_wire())) == (standing, encode(wire))
    again = read.with_standing(Standing(share=3))
    assert again.to_wire() == [*wire[:7], [0, 3, 0, False], *wire[8:]]


def test_what_a_later_version_adds_to_a_standing_is_passed_on() -> None:
    wire = [*PLAIN.to_wire(), None, [1, 1], [0, 8, 0, False, True, "more"]]
    read = Metadata.from_wire(wire)
    assert (read.standing.share, read.standing.bringing, read.to_wire()) == (8, True, wire)


@pytest.mark.parametrize(
    "wire",
    [5, {}, [], [0, 1, 2], [-1, 1, 0, False], [256, 1, 0, False], [0, 17, 0, False], [0, 1, 65536, False], [0, 1, 0, 0],
     [True, 1, 0, False], ["0", 1, 0, False]],
)  # fmt: skip
def test_a_standing_of_another_form_is_refused(wire: object) -> None:
    with pytest.raises(RemoteProtocolError):
        Metadata.from_wire([*PLAIN.to_wire(), None, None, wire])


@pytest.mark.parametrize(
    "values", [{"phase": -1}, {"share": 17}, {"hold": -1}, {"stateful": 1}, {"bringing": 0}, {"share": True}]
)
def test_a_value_out_of_bounds_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        Standing(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("standing", "weight", "on_the_ring"),
    [
        (Standing(), 3, 3),
        (Standing(share=4), 1, 0.25),
        (Standing(share=8), 2, 1),
        (Standing(share=0), 2, 0),
        (Standing(phase=Phase.CORDONED), 1, 0),
        (Standing(phase=Phase.DRAINING, share=8), 1, 0),
        (Standing(phase=77), 1, 0),
        (Standing(), 60_000, 128),
        (Standing(share=8), 60_000, 64),
        (Standing(hold=30, stateful=True), 1, 1),
    ],
)
def test_what_a_member_weighs_on_the_rings(standing: Standing, weight: int, on_the_ring: float) -> None:
    told = dataclasses.replace(PLAIN, weight=weight).with_standing(standing)
    assert told.ring_weight == on_the_ring
