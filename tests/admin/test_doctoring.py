"""What the doctor says of what it measures."""

from __future__ import annotations

import json

import pytest

from swimring.admin.cli.findings import clock_finding, mtu_findings, reach_findings, udp_finding
from swimring.admin.cli.pinging import Heard, Pinging
from swimring.identity import Address
from swimring.swim import Member, Metadata, Status

from .command import Run, run

__all__ = ["run"]


@pytest.mark.parametrize(("ahead", "verdict"), [(0.0, "good"), (-4.9, "good"), (5.1, "bad"), (-3600.0, "bad")])
def test_a_clock_may_differ_by_five_seconds(ahead: float, verdict: str) -> None:
    assert clock_finding("a", ahead).verdict == verdict


@pytest.mark.parametrize(
    ("heard", "verdict", "means"), [(5, "good", ""), (3, "bad", "lost"), (0, "bad", "do not pass")]
)
def test_lost_and_silent_datagrams_mean_different_things(heard: int, verdict: str, means: str) -> None:
    finding = udp_finding("a", heard)
    assert finding.verdict == verdict
    assert means in finding.means
    assert bool(finding.do) == (verdict == "bad")


@pytest.mark.parametrize(
    ("mtu", "small", "large", "verdicts"),
    [
        (None, 5, 5, ["good"]),
        (1500, 5, 5, ["good"]),
        (576, 5, 5, ["bad"]),
        (1500, 5, 0, ["bad"]),
        (None, 5, 0, ["bad"]),
        (1500, 0, 0, []),
        (576, 0, 0, []),
    ],
)
def test_the_largest_datagram_has_to_pass(mtu: int | None, small: int, large: int, verdicts: list[str]) -> None:
    assert [one.verdict for one in mtu_findings("a", mtu, small=small, large=large)] == verdicts


def test_who_is_doubted_by_one_and_answers_us_cannot_be_reached_from_there() -> None:
    views = {"a": {"a": "alive", "b": "suspect", "gone": "dead"}, "b": {"a": "alive", "b": "alive", "gone": "dead"}}
    (finding,) = reach_findings(views)
    assert finding.subject == "a to b"
    assert "closed" in finding.means


def test_who_answers_us_and_no_ping_of_another_cannot_be_reached_from_there_even_if_nobody_doubts_it() -> None:
    views = {"a": {"a": "alive", "b": "alive"}, "b": {"a": "alive", "b": "alive"}}
    (finding,) = reach_findings(views, {"a": {"b", "gone"}, "b": set()})
    assert (finding.subject, finding.found) == ("a to b", "b answers no ping of a")


def test_a_name_that_dns_cannot_have_is_a_finding(run: Run) -> None:
    status, out, err = run("doctor", "--join", "ä_b:1", "--json")
    assert (status, err) == (1, "")
    (found,) = json.loads(out)
    assert (found["check"], found["subject"], found["verdict"]) == ("dns", "ä_b", "bad")


@pytest.mark.anyio
async def test_a_member_that_claims_to_be_at_what_is_no_host_name_is_as_good_as_silent() -> None:
    address = Address("ä_b", 1)
    member = Member(name="b", address=address, generation=1, incarnation=0, status=Status.ALIVE, metadata=Metadata())
    assert await Pinging("hello", None).ask(member, address, [member]) == Heard()
