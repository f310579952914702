"""Two of five nodes are cut off: both sides serve; afterwards each key has one owner, that of the later fence."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from swimring.swim import PROFILES

from .asker import Asker, open_asker
from .fleet import Broken, open_fleet
from .runs import NODES, Found, Plan
from .wires import open_wires, why_not

if TYPE_CHECKING:
    from .fleet import Fleet
    from .wires import Wires

LEFT = ("n1", "n2")
RIGHT = ("n3", "n4", "n5")
PORT = 7979
PATIENCE = 10.0
"""Seconds after an interval of healing within which everybody knows everybody again."""
_SIDES = ("left", "left", "right", "right", "right", "left", "right")  # five nodes and two who ask


async def partition(plan: Plan) -> Found:
    """Cut the wire, serve on both sides, mend it."""
    if (reason := why_not()) is not None:
        return Found(name="partition", figures={"skipped": reason})
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, open_wires(_SIDES) as wires:
        async with AsyncExitStack() as stack:
            cluster = f"chaos-{secrets.token_hex(4)}"
            fleet = await stack.enter_async_context(
                open_fleet(cluster, "tests.chaos.counters:app", Path(folder), options=("--insecure",))
            )
            await _start(fleet, wires)
            left, right = [
                await stack.enter_async_context(
                    open_asker(
                        cluster,
                        "counter",
                        fleet.addresses,
                        name=f"asker{number}",
                        listen=f"{wires.host(number)}:{PORT}",
                        prefix=wires.place(number),
                    )
                )
                for number in (NODES, NODES + 1)
            ]
            return await _Cut(plan, wires, left, right).run()
    raise AssertionError("unreachable")


async def _start(fleet: Fleet, wires: Wires) -> None:
    addresses = [f"{wires.host(number)}:{PORT}" for number in range(NODES)]
    for number, address in enumerate(addresses):
        (member,) = fleet.plan([address], prefix=wires.place(number))
        await member.start()


class _Cut:
    """One partition from its beginning to its end."""

    def __init__(self, plan: Plan, wires: Wires, left: Asker, right: Asker) -> None:
        self._plan = plan
        self._wires = wires
        self._left = left
        self._right = right
        self.figures: dict[str, Any] = {}
        self.broken: list[str] = []

    async def run(self) -> Found:
        for asker in (self._left, self._right):
            await asker.do("settled", names=[*LEFT, *RIGHT])
        await self._right.do("touch", keys=self._plan.keys)
        self._wires.cut()
        with trio.move_on_after(20.0 if self._plan.quick else 60.0):
            await trio.sleep_forever()
        expected = await self._serve()
        self._wires.mend()
        began = trio.current_time()
        for asker in (self._left, self._right):
            await asker.do("settled", names=[*LEFT, *RIGHT])
        self.figures["whole_again_after"] = healed = trio.current_time() - began
        limit = PROFILES["local"].heal_interval + PATIENCE
        if healed > limit:
            self.broken.append(f"they needed {healed:.1f} s to find each other, not {limit:.0f}")
        await self._compare(expected)
        return Found(
            name="partition",
            figures=self.figures,
            targets={"whole_again_after": f"{limit:.0f}"},
            broken=self.broken,
        )

    async def _serve(self) -> dict[str, tuple[int, int]]:
        """Count every key on both sides; for each the later fence, and what its side says."""
        last: dict[str, tuple[int, int]] = {}
        for name, asker, nodes in (("left", self._left, LEFT), ("right", self._right, RIGHT)):
            self.figures[f"{name}_agreed_after_cut_and"] = await asker.do("settled", names=list(nodes))
            self.figures[f"{name}_counted_all_in"] = await asker.do("touch", keys=self._plan.keys)
        for asker, nodes in ((self._left, LEFT), (self._right, RIGHT)):
            values = await asker.do("values", keys=self._plan.keys)
            fences = await asker.do("fences", names=list(nodes))
            for key, fence in ((key, fence) for open_keys in fences.values() for key, fence in open_keys.items()):
                last[key] = max(last.get(key, (0, 0)), (fence, values[key]))
        failed = [await asker.do("tally") for asker in (self._left, self._right)]
        self.broken += [f"calls failed while the wire was cut: {one}" for one in failed if one]
        if len(last) != self._plan.keys:
            raise Broken(f"{len(last)} of {self._plan.keys} keys are open")
        return last

    async def _compare(self, expected: dict[str, tuple[int, int]]) -> None:
        values = await self._left.do("values", keys=self._plan.keys)
        await self._quiet()
        owners: dict[str, list[str]] = {}
        for name, fences in (await self._left.do("fences", names=[*LEFT, *RIGHT])).items():
            for key in fences:
                owners.setdefault(key, []).append(name)
        several = {key: names for key, names in owners.items() if len(names) > 1}
        self.figures["keys_with_one_owner"] = len(owners) - len(several)
        self.broken += [f"{key} has several owners: {names}" for key, names in list(several.items())[:10]]
        wrong = {key: value for key, value in values.items() if value != expected[key][1]}
        self.figures["keys_of_the_later_fence"] = len(values) - len(wrong)
        for key, value in list(wrong.items())[:10]:
            self.broken.append(f"{key} is {value}, and was {expected[key][1]} on the side of the later fence")

    async def _quiet(self) -> None:
        while True:
            told = await self._left.do("about", names=[*LEFT, *RIGHT])
            if not any(one["keys_left"] for one in told.values()):
                return
            await trio.sleep(0.5)
