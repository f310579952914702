"""How long a suspect has."""

from __future__ import annotations

import pytest

from swimring.identity import NodeId
from swimring.swim import Profile, Suspicion, hoped_confirmations, shortest_suspicion, suspicion_after

LOCAL, LAN, WAN = Profile.local(), Profile.lan(), Profile.wan()


@pytest.mark.parametrize(
    ("members", "seconds"), [(1, 4), (5, 4), (10, 4), (50, 6.792), (100, 8), (500, 10.792), (1000, 12)]
)
def test_the_shortest_suspicion_grows_with_the_logarithm_of_the_cluster(members: int, seconds: float) -> None:
    assert shortest_suspicion(LAN, members) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("profile", "members", "hoped"),
    [(LOCAL, 3, 0), (LOCAL, 4, 1), (LAN, 2, 0), (LAN, 3, 0), (LAN, 4, 2), (WAN, 5, 3), (WAN, 6, 4), (WAN, 100, 4)],
)
def test_no_more_confirmations_are_hoped_for_than_there_are_members_to_give_them(
    profile: Profile, members: int, hoped: int
) -> None:
    assert hoped_confirmations(profile, members) == hoped


# memberlist's own rows: k = 3, 2 s to 30 s; confirmations, elapsed -> what is left
@pytest.mark.parametrize(
    ("confirmations", "elapsed", "left"), [(0, 0, 30), (1, 2, 14), (2, 3, 4.81), (3, 4, -2), (4, 5, -3), (5, 10, -8)]
)
def test_confirmations_shorten_by_their_logarithm(confirmations: int, elapsed: float, left: float) -> None:
    assert suspicion_after(confirmations, 3, 2, 30) - elapsed == pytest.approx(left, abs=0.01)


@pytest.mark.parametrize(
    ("profile", "members", "seconds"),
    [
        (LOCAL, 3, [3]),
        (LOCAL, 10, [18, 3]),
        (LOCAL, 100, [36, 6]),
        (LAN, 3, [4]),
        (LAN, 5, [24, 11.4, 4]),
        (LAN, 30, [35.4, 16.8, 5.9]),
        (LAN, 1000, [72, 34.1, 12]),
        (WAN, 10, [180, 115, 78, 51, 30]),
        (WAN, 100, [360, 231, 155, 102, 60]),
    ],
)
def test_the_profiles_give_these_times(profile: Profile, members: int, seconds: list[float]) -> None:
    suspicion = Suspicion(
        suspect=NodeId("bob", 1), incarnation=1, accuser="me", now=100, members=members, profile=profile
    )
    found = [suspicion.deadline - 100]
    for number in range(len(seconds) - 1):
        assert suspicion.confirm(f"other{number}")
        found.append(suspicion.deadline - 100)
    assert found == pytest.approx(seconds, rel=0.01)
    assert not suspicion.confirm("one too many")


def test_the_first_accuser_and_repeated_ones_confirm_nothing() -> None:
    suspicion = Suspicion(suspect=NodeId("bob", 1), incarnation=1, accuser="me", now=0, members=9, profile=WAN)
    assert not suspicion.confirm("me")
    assert suspicion.confirm("carol")
    assert not suspicion.confirm("carol")
    assert suspicion.confirmations == 1
    assert repr(suspicion) == "<Suspicion of bob by carol, me until 115.398>"
