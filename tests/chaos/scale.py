"""From 3 to 12 nodes and back while keys are read and written: none is lost, and no node sends faster than it may."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import trio

from swimring.ownership.spreading import BANDWIDTH

from .fleet import LEAVES_WITHIN, free_addresses
from .runs import Found, Plan, Scene, complaints, failures, losses, open_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

FEW, MANY = 3, 12
LONG = 1_800.0
HAND_OVER_WITHIN = 900.0
"""Seconds that a node may take to bring its state to others before it leaves: 30, the default, is for less of it."""
_MIB = 1024 * 1024


class Traffic:
    """How fast each node brings copies to others, looked at once a second."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._sent: dict[str, tuple[float, int]] = {}
        self.fastest = 0.0
        """The most bytes that one node sent in a second."""
        self.nodes: dict[str, dict[str, Any]] = {}

    async def wait_quiet(self, names: Sequence[str], *, busy: float) -> float:
        """Wait until copies of at most ``busy`` keys may be missing, which calls have just opened; the seconds."""
        began = trio.current_time()
        while True:
            self.nodes = await self._scene.asker.do("about", names=list(names), within=LONG)
            for name, told in self.nodes.items():
                now = time.monotonic()  # noqa: TID251 - a rate of this machine
                at, sent = self._sent.get(name, (now, told["bytes_sent"]))
                if now - at >= 1.0:
                    self.fastest = max(self.fastest, (told["bytes_sent"] - sent) / (now - at))
                if now - at >= 1.0 or name not in self._sent:
                    self._sent[name] = (now, told["bytes_sent"])
            if sum(told["keys_left"] for told in self.nodes.values()) <= busy:
                return trio.current_time() - began
            await trio.sleep(1.0)


async def scale(plan: Plan) -> Found:
    """Fill three nodes, start nine more, let them go again."""
    options = ("--hand-over-within", str(HAND_OVER_WITHIN))
    async with open_scene(plan, nodes=FEW, touched=False, env={"CHAOS_REPLICAS": "1"}, options=options) as scene:
        few = list(scene.fleet.members)
        ask, traffic, busy = scene.asker.do, Traffic(scene), 3 * plan.rate + 10
        copies = await ask("fill", names=few, keys=plan.keys, within=LONG)
        await scene.begin(reads=0.5, patience=(60.0, 60.0))
        filled = await traffic.wait_quiet(few, busy=busy)
        memory = sum(told["peak_mib"] for told in traffic.nodes.values())
        for member in scene.fleet.plan(free_addresses(MANY - FEW)):
            scene.note(f"{member.name} started")
            await member.start()
        grown = await scene.settled(within=LONG) + await traffic.wait_quiet(list(scene.fleet.members), busy=busy)
        owners: dict[str, int] = await ask("owners", keys=plan.keys, within=LONG)
        at_most = await ask("inventory", names=list(scene.fleet.members), keys=plan.keys, within=LONG)
        began = trio.current_time()
        for name, member in scene.fleet.members.items():
            if name not in few:
                scene.note(f"SIGTERM {name}")
                await member.leave(within=HAND_OVER_WITHIN + LEAVES_WITHIN)
        shrunk = (
            trio.current_time() - began + await scene.settled(within=LONG) + await traffic.wait_quiet(few, busy=busy)
        )
        load = await scene.end()
        await traffic.wait_quiet(few, busy=0)
        at_last = await ask("inventory", names=few, keys=plan.keys, within=LONG)
        checked = await ask("verify", exact=True, within=LONG)
        broken = [*failures(load, allow_maybe=False), *losses(load, checked), *complaints(scene)]
    figures = {
        **load,
        **checked,
        "copies_filled": copies,
        "memory_of_a_copy": f"{memory * _MIB / copies:.0f} bytes, the process included",
        "filled_and_quiet": filled,
        "imbalance": max(owners.values()) * MANY / plan.keys - 1,
        "to_12_and_quiet": grown,
        "to_3_and_quiet": shrunk,
        "fastest_node_mib_s": traffic.fastest / _MIB,
        "keys_at_12": at_most,
        "keys_at_3": at_last,
    }
    if (at_most, at_last) != (plan.keys, plan.keys):
        broken.append(f"of {plan.keys} keys {at_most} were there with 12 nodes, {at_last} in the end")
    if traffic.fastest > BANDWIDTH * 1.1:
        broken.append(f"a node sent {traffic.fastest / _MIB:.1f} MiB/s, and may {BANDWIDTH / _MIB:.0f}")
    targets = {"imbalance": "0.15", "fastest_node_mib_s": f"at most {BANDWIDTH / _MIB:.0f}"}
    return Found(name="scale", figures=figures, targets=targets, broken=broken)
