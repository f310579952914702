"""One gossiper and its neighbours: joining, probing, refuting, refusing."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import trio

from swimring.errors import NameConflict, NodeClosed
from swimring.identity import Address
from swimring.swim import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    Metadata,
    NameConflicted,
    Profile,
    Resynced,
    Status,
)
from swimring.testing import PacketKind, Verdict
from tests.gossip.nodes import PORT, Rule, open_cluster, record_of, simulated

LOCAL, LAN = Profile.local(), Profile.lan()


# ---------------------------------------------------------------------------------------------------- joining


@simulated
async def test_join_counts_the_members_that_answer() -> None:
    async with open_cluster() as cluster:
        for name in ("a", "b"):
            await cluster.start(name)
        await cluster.start("stranger", cluster="other")
        me = await cluster.start("me")
        cluster.network.at("empty")
        hosts = ["a", "b", "stranger", "empty", "me", "unknown"]
        assert await me.gossiper.join([Address(host, PORT) for host in hosts]) == 2
        assert me.sees() == {"me", "a", "b"}
        assert me.recorder.refused == [("stream", "cluster")]


@simulated
async def test_join_follows_every_address_of_a_name() -> None:
    async with open_cluster() as cluster:
        for name in ("a", "b"):
            await cluster.start(name)
        cluster.network.set_name("seeds.example", "a", "b")
        me = await cluster.start("me")
        assert await me.gossiper.join([Address("seeds.example", PORT)]) == 2


@simulated
async def test_a_listener_that_never_answers_holds_a_join_up_for_the_patience_of_the_profile_and_no_longer() -> None:
    async with open_cluster() as cluster:
        await cluster.start("a", profile=LOCAL)
        await cluster.network.at("mute").bind(Address("mute", PORT))  # its machine accepts, and nobody reads
        me = await cluster.start("me", profile=LOCAL)
        started = trio.current_time()
        assert await me.gossiper.join([Address("mute", PORT)]) == 0
        assert trio.current_time() - started == pytest.approx(LOCAL.stream_patience, abs=0.1)
        assert await me.gossiper.join([Address("mute", PORT), Address("a", PORT)]) == 1


@simulated
async def test_a_node_that_meets_its_own_later_life_while_joining_takes_the_next_generation() -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a")
        first = await cluster.start("me", generation=100, join=["a"])
        cluster.crash(first)
        await a.wait_sees({"me"}, Status.DEAD)
        again = await cluster.start("me", generation=50, join=["a"])  # its clock went back
        assert again.gossiper.me.generation == 101
        await cluster.settle([a, again])
        assert record_of(a, "me").generation == 101


@simulated
async def test_the_older_of_two_processes_with_one_name_stops() -> None:
    async with open_cluster() as cluster:
        await cluster.start("a")
        try:
            async with trio.open_nursery() as nursery:
                older = type(cluster)(cluster.network, nursery)
                await older.start("twin", generation=1, join=["a"])
                await cluster.start("twin", generation=2, join=["a"], host="twin2")
                await trio.sleep(10)
        except BaseExceptionGroup as group:
            conflict, rest = group.split(NameConflict)
            assert conflict is not None
            assert rest is None
        else:
            pytest.fail("nobody stopped")


# ---------------------------------------------------------------------------------------------------- probing


@simulated
async def test_a_member_that_one_of_us_cannot_reach_is_vouched_for_by_relays() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(4, profile=LAN)
        with cluster.network.partition("n0", "n1"):
            await trio.sleep(60)
        assert all(node.recorder.statuses(other) == ["alive"] for node in nodes for other in node.sees() - {node.name})


@simulated
async def test_a_member_whose_datagrams_are_blocked_is_vouched_for_by_streams(caplog: pytest.LogCaptureFixture) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(4, profile=LAN)
        with cluster.network.inject(Rule(PacketKind.DATAGRAM, "n0", {"n1", "n2", "n3"}, Verdict(cut=True))):
            await trio.sleep(60)
        assert all("n0" in node.sees() for node in nodes)
        assert all(node.recorder.statuses("n0") == ["alive"] for node in nodes[1:])
    assert caplog.text.count("n0 answers over a stream and not to datagrams: are they blocked?") == 3, "once each"


@simulated
async def test_a_firewall_between_two_members_kills_neither() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(5, profile=LAN)
        refused = Rule(PacketKind.HANDSHAKE, "n0", {"n1"}, Verdict(refused=True))
        blocked = Rule(PacketKind.DATAGRAM, "n0", {"n1"}, Verdict(cut=True))
        with cluster.network.inject(refused), cluster.network.inject(blocked):
            nodes[0].gossiper.suspect_connection("n1")
            nodes[1].gossiper.suspect_connection("n0")
            await trio.sleep(60)
        assert all("dead" not in status for node in nodes for _, _, status in node.recorder.changes)
        await cluster.settle(nodes)


@simulated
async def test_a_false_suspicion_is_refuted_by_a_higher_incarnation() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(4, profile=LAN)
        victim = record_of(nodes[0], "n3")
        async with nodes[0].gossiper.events() as events:
            said = trio.current_time()
            nodes[0].gossiper.learn([dataclasses.replace(victim, status=Status.DEAD)])
            heard = [await anext(events) for _ in range(2)]
        assert [type(event) for event in heard] == [MemberSuspected, MemberRecovered]
        assert trio.current_time() - said < 1
        assert record_of(nodes[0], "n3").incarnation == 2
        assert nodes[3].gossiper.statistics().health == 1


@pytest.mark.parametrize("seed", range(20))
@simulated
async def test_a_ping_for_an_earlier_generation_is_corrected_and_not_answered(seed: int) -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a", profile=LAN)
        old = await cluster.start("b", generation=1, join=["a"])
        await cluster.settle([a, old])
        cluster.crash(old)
        new = await cluster.start("b", generation=2)  # it does not know anybody
        await a.wait(lambda: record_of(a, "b").generation == 2)
        heard = new.gossiper.statistics()
        gossip_was_first = heard.packets.get(("in", "Gossip"), 0) > 0  # which says the same, and is corrected as well
        assert heard.misdirected == 1 or gossip_was_first
        assert "dead" not in a.recorder.statuses("b")


@simulated
async def test_the_time_of_an_answer_is_told_and_is_none_when_nobody_answered() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LOCAL)
        await trio.sleep(3)
        assert all(name == "n1" and rtt is not None and 0 < rtt < 0.01 for name, rtt in a.recorder.probes)
        cluster.lose(b)
        await trio.sleep(3)
        assert a.recorder.probes[-1] == ("n1", None)
        assert a.gossiper.statistics().probes_failed >= 1


@simulated
async def test_a_ping_that_cannot_even_be_sent_is_a_failed_one() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LOCAL)
        ghost = dataclasses.replace(record_of(a, "n1"), name="ghost", address=Address("no-such-host", PORT))
        a.gossiper.learn([ghost])
        await cluster.wait_status([a, b], ["ghost"], Status.DEAD)
        assert a.recorder.statuses("ghost") == b.recorder.statuses("ghost") == ["alive", "suspect", "dead"]


@simulated
async def test_an_interface_that_is_down_keeps_no_neighbour_alive_and_coming_up_brings_them_back() -> None:
    async with open_cluster() as cluster:
        alone, *others = nodes = await cluster.start_all(4, profile=LOCAL)
        cluster.interfaces_down.add(alone.name)
        with cluster.network.isolate(alone.name):
            began = trio.current_time()
            await cluster.wait_status([alone], [node.name for node in others], Status.DEAD)
            await cluster.wait_status(others, [alone.name], Status.DEAD)
            assert trio.current_time() - began < 30
            assert alone.recorder.failed_duties == []
        cluster.interfaces_down.clear()
        await cluster.settle(nodes)


@simulated
async def test_a_round_whose_timers_were_late_accuses_nobody_and_costs_a_point_of_health(seed: int) -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LAN)
        await trio.sleep(5)
        cluster.lose(b)
        before = a.gossiper.statistics()
        await trio.sleep(LAN.probe_interval)  # the next round has begun, and has not ended
        trio.lowlevel.current_clock().jump(2)  # type: ignore[attr-defined]  # a MockClock: its timers are all late
        await trio.sleep(0.001)
        after = a.gossiper.statistics()
        assert (after.probes, after.probes_failed) == (before.probes + 1, before.probes_failed)
        assert after.health == before.health + 1
        assert a.sees() == {"n0", "n1"}


@simulated
async def test_a_node_whose_timers_are_late_tells_it_with_every_ack() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LOCAL)
        assert a.gossiper.lag("n2") is None
        await trio.sleep(3)
        assert a.gossiper.lag("n1") == 0
        trio.lowlevel.current_clock().jump(3)  # type: ignore[attr-defined]  # a MockClock: all timers are late at once
        await trio.sleep(3)
        mine, told = b.gossiper.lag("n1"), a.gossiper.lag("n1")
        assert mine is not None
        assert told is not None
        assert 2 <= mine <= 3
        assert told == pytest.approx(mine, abs=0.001)


# ---------------------------------------------------------------------------------------------------- telling


@simulated
async def test_new_metadata_reaches_everybody_as_an_update() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(5, profile=LAN)
        async with nodes[4].gossiper.events() as events:
            await nodes[0].gossiper.update_metadata(Metadata(services=("kv", "new"), weight=5))
            event = await anext(events)
        assert isinstance(event, MemberUpdated)
        assert event.member.metadata.services == ("kv", "new")


@simulated
async def test_who_has_left_can_neither_join_nor_change() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LOCAL)
        await a.gossiper.leave()
        await a.gossiper.leave()
        with pytest.raises(NodeClosed):
            await a.gossiper.join([b.address])
        with pytest.raises(NodeClosed):
            await a.gossiper.update_metadata(Metadata())


@simulated
async def test_events_tell_a_life_in_order() -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a", profile=LAN)
        async with a.gossiper.events() as events:
            b = await cluster.start("b", join=["a"])
            await trio.sleep(1)
            cluster.lose(b)
            await a.wait_sees({"b"}, Status.DEAD)
            again = await cluster.start("b", generation=2, join=["a"])
            await again.gossiper.leave()
            heard = [type(await anext(events)) for _ in range(5)]
        assert heard == [MemberJoined, MemberSuspected, MemberFailed, MemberJoined, MemberLeft]


@simulated
async def test_a_listener_that_is_too_slow_gets_everybody_instead_of_a_gap() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LOCAL)
        async with a.gossiper.events() as events:
            for number in range(300):
                await a.gossiper.update_metadata(Metadata(tags={"n": str(number)}))
            event = await anext(events)
            assert isinstance(event, Resynced)
            assert event.members == a.gossiper.members
            await b.gossiper.update_metadata(Metadata(weight=2))
            assert isinstance(await anext(events), MemberUpdated)


@simulated
async def test_listening_ends_with_the_gossiper() -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a")
        async with a.gossiper.events() as events:
            a.scope.cancel()
            assert [event async for event in events] == []


# ---------------------------------------------------------------------------------------------------- refusing

NONSENSE = {
    b"": "empty",
    b"\xe1": "truncated",
    b"\xe1" + bytes(20): "cluster",
    b"\xe2" + bytes(20): "version",
    b"\xe1" + bytes(5000): "oversized",
    b"GET / HTTP/1.1\r\n\r\n": "magic",
}


@simulated
async def test_nonsense_on_the_datagram_port_is_counted_and_told_and_the_node_goes_on() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LOCAL)
        mallory = await cluster.network.at("mallory").bind(Address("mallory", 1))
        for payload in NONSENSE:
            await mallory.datagrams.send(payload, a.address)
        await trio.sleep(0.1)
        expected = {f"datagram:{reason}": 1 for reason in NONSENSE.values()}
        assert a.gossiper.statistics().refused == expected
        assert sorted(a.recorder.refused) == sorted(("datagram", reason) for reason in NONSENSE.values())
        await b.gossiper.update_metadata(Metadata(weight=2))
        await a.wait(lambda: record_of(a, "n1").metadata.weight == 2)
        assert a.recorder.failed_duties == []


@simulated
async def test_nonsense_on_a_stream_is_counted_and_ends_that_connection_only() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LOCAL)
        mallory = cluster.network.at("mallory")
        nonsense = {
            b"\xe1\0": "truncated",
            b"\xe1\0\0\0\x14" + bytes(20): "cluster",
            b"\xe3": "version",
            b"\xe1\xff\xff\xff\xff": "oversized",
            b"GET / HTTP/1.1\r\n\r\n": "magic",
        }
        for payload in nonsense:
            stream = await mallory.connect(a.address)
            await stream.send_all(payload)
            await stream.send_eof()
            while await stream.receive_some(1000):
                pass
        assert a.gossiper.statistics().refused == {f"stream:{reason}": 1 for reason in nonsense.values()}
        assert await b.gossiper.join([a.address]) == 1


@simulated
async def test_who_connects_and_says_nothing_is_hung_up_on_after_five_seconds() -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a", profile=LOCAL)
        stream = await cluster.network.at("mallory").connect(a.address)
        started = trio.current_time()
        assert await stream.receive_some(1) == b""
        assert trio.current_time() - started == pytest.approx(5, abs=0.1)


@simulated
async def test_refusals_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with open_cluster() as cluster:
        a = await cluster.start("a", profile=LOCAL)
        mallory = await cluster.network.at("mallory").bind(Address("mallory", 1))
        for _ in range(300):
            await mallory.datagrams.send(b"nonsense", a.address)
            await trio.sleep(0.1)
    lines = [record.getMessage() for record in caplog.records if "refused bytes" in record.getMessage()]
    assert len(lines) == 2  # at 0 and 10 s; the next pause is 20 s long
    assert "'magic: begins with 0x6e, which is not gossip' (99 more since the last line)" in lines[1]


@simulated
async def test_two_nodes_that_share_name_and_generation_are_told() -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a", profile=LOCAL)
        await cluster.start("twin", join=["a"], profile=LOCAL)
        async with a.gossiper.events() as events:
            await cluster.start("twin", join=["a"], profile=LOCAL, host="twin2")
            event = await anext(events)
        assert isinstance(event, NameConflicted)
        assert {event.member.address.host, event.other.host} == {"twin", "twin2"}


@simulated
async def test_twins_are_told_once_a_minute_and_not_with_every_datagram(caplog: pytest.LogCaptureFixture) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=LOCAL)
        one, other = [await cluster.start("twin", join=["n0"], profile=LOCAL, host=host) for host in ("twin1", "twin2")]
        caplog.clear()
        await trio.sleep(300)
        lines = [record.getMessage() for record in caplog.records if "is claimed by" in record.getMessage()]
        assert 0 < len(lines) <= 5 * 6  # a line a minute and node
        assert any("more times since the last line" in line for line in lines)
        assert all(not node.recorder.failed_duties for node in (*nodes, one, other))


@simulated
async def test_no_datagram_is_larger_than_the_budget() -> None:
    async with open_cluster() as cluster:
        large = Metadata(tags={"a": "x" * 480})
        nodes = [await cluster.start(f"n{n}", profile=LAN, metadata=large) for n in range(8)]
        for node in nodes[1:]:
            await node.gossiper.join([nodes[0].address])
        await cluster.settle(nodes)
        await trio.sleep(5)
        for node in nodes:
            statistics = node.gossiper.statistics()
            assert statistics.bytes_sent <= 1400 * statistics.datagrams_sent
