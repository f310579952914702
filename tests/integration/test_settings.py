"""A node whose settings are in a file, and what SIGHUP does to it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from .processes import running, swimring_json
from .test_run import HELLO, cluster

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["cluster"]


async def test_a_node_takes_its_file_and_a_signal_makes_it_take_what_can_change(cluster: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'cluster = "{cluster}"\nname = "a"\nweight = 2\njoin = ["127.0.0.1:1"]\n')
    with trio.fail_after(60):
        async with running(HELLO, "--config", str(file)) as node:
            via = ("--join", await node.wait_address())
            (before,) = await swimring_json("members", *via)
            assert (before["name"], before["weight"], before["zone"]) == ("a", 2, "")

            file.write_text("wieght = 3")
            node.signal(signal.SIGHUP)
            assert "the nearest is weight" in await node.wait_said("a file was not taken")

            right = f'cluster = "{cluster}"\nname = "b"\nweight = 3\nzone = "x"\n'
            for level, says in (("loud", "use one of: debug"), ("debug", "weight is 3 now, zone is x now")):
                file.write_text(f'{right}log-level = "{level}"\n')
                node.signal(signal.SIGHUP)
                await node.wait_said(says)  # what was not taken with a wrong level is taken with a right one
            await node.wait_said("the log level is debug now")
            assert "next start only: join, name" in await node.wait_said("taken at the next start only")
            (after,) = await swimring_json("members", *via)
            assert (after["name"], after["weight"], after["zone"]) == ("a", 3, "x")

            file.write_text("")
            node.signal(signal.SIGHUP)
            await node.wait_said("the log level is info now")
            await node.wait_said("weight is 1 now")
