"""The presets, and what cannot be set."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from swimring.errors import ConfigError
from swimring.swim import PROFILES, Profile


@pytest.mark.parametrize(("members", "limit"), [(1, 8), (9, 8), (10, 8), (99, 8), (100, 12), (999, 12), (1000, 16)])
def test_rumours_are_sent_more_often_in_larger_clusters(members: int, limit: int) -> None:
    assert Profile.lan().retransmit_limit(members) == limit
    assert Profile.local().retransmit_limit(members) == limit


@pytest.mark.parametrize(("members", "period"), [(1, 30), (32, 30), (33, 60), (64, 60), (65, 90), (1000, 180)])
def test_full_states_are_exchanged_less_often_in_larger_clusters(members: int, period: float) -> None:
    assert Profile.lan().push_pull_period(members) == period


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_a_relay_reports_before_the_round_ends(profile: Profile) -> None:
    assert profile.probe_timeout + profile.relay_budget < profile.probe_interval


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Profile) if field.name != "name"])
def test_every_constant_says_what_goes_wrong_when_it_is_too_high_and_too_low(field: str) -> None:
    assert Profile.__doc__ is not None
    words = inspect.cleandoc(Profile.__doc__)  # from Python 3.13 on, the compiler takes the indentation out
    entry = re.search(rf"^    {field}: .*\n(?:        .*\n?)*", words, re.MULTILINE)
    assert entry is not None
    words = " ".join(entry[0].split())
    assert "Too high" in words
    assert "Too low" in words


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probe_interval", 0),
        ("probe_timeout", 1.0),
        ("gossip_interval", float("inf")),
        ("indirect_probes", -1),
        ("datagram_budget", 1401),
        ("datagram_budget", 100),
    ],
)
def test_a_profile_that_cannot_work_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(Profile.lan(), **{field: value})  # type: ignore[arg-type]  # fields by name
