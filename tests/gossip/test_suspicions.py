"""The duty that watches suspects, while it does not run and when it runs again."""

from __future__ import annotations

import trio

from swimring.gossip.beliefs import Beliefs
from swimring.gossip.suspicions import Suspicions
from swimring.instrument import Instruments
from swimring.swim import Profile, Status
from tests.gossip.nodes import simulated
from tests.swim.records import member, membership


@simulated
async def test_a_suspicion_that_begins_between_two_runs_is_watched_by_the_next() -> None:
    profile = Profile.lan()
    beliefs = Beliefs(membership(profile=profile, others=1), Instruments())
    duty = Suspicions(beliefs, profile)
    with trio.move_on_after(1):
        await duty.run()
    beliefs.accuse(member("other0", host="10.0.1.0"))
    with trio.move_on_after(60):
        await duty.run()
    found = beliefs.membership.get("other0")
    assert found is not None
    assert found.status is Status.DEAD
