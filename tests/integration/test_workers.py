"""``swimring run --workers``: several nodes under one process."""

from __future__ import annotations

import os
import re
import signal

import trio

from swimring.admin.cli.supervising import shared_out

from .processes import started, swimring_json
from .test_run import HELLO, cluster

__all__ = ["cluster"]


def test_what_is_one_nodes_own_is_made_different_for_each_worker() -> None:
    settings = {
        "name": "n", "listen": "10.0.0.1:7979", "advertise": "10.0.0.1", "admin": "auto", "join": ("a:1", "b:2"),
        "state": "/var/x", "weight": 3, "insecure": True, "zone": "z", "workers": 2,
    }  # fmt: skip
    flags = " ".join(shared_out(settings, {"name", "listen", "join", "insecure", "workers"}, 2))
    assert flags == (
        "--advertise 10.0.0.1 --insecure --join a:1 --join b:2 --listen 10.0.0.1:7980 --name n-2 --state /var/x/2 "
        "--workers 1"
    )


def test_an_address_without_a_port_has_the_usual_one_and_workers_take_those_that_follow() -> None:
    settings = {"listen": "10.0.0.1", "admin": "10.0.0.1"}
    for number, told in ((1, "10.0.0.1:8079 10.0.0.1:7979"), (3, "10.0.0.1:8081 10.0.0.1:7981")):
        admin, listen = told.split()
        expected = ["--admin", admin, "--listen", listen, "--workers", "1"]
        assert shared_out(settings, set(), number) == expected
    assert shared_out({"listen": "10.0.0.1:0"}, set(), 3)[:2] == ["--listen", "10.0.0.1:0"]


async def test_workers_are_started_again_when_killed_and_drained_together(cluster: str) -> None:
    with trio.fail_after(60):
        options = ("--workers", "2", "--cluster", cluster, "--name", "w", "--log-level", "warning")
        async with started("run", HELLO, *options) as owner:
            first = await owner.wait_said("* w-1 serves at ")
            second = await owner.wait_said("* w-2 serves at ")
            pid = re.search(r"process (\d+)", first)
            address = re.search(r"serves at ([^ ,]+)", second)
            assert pid
            assert address
            os.kill(int(pid[1]), signal.SIGKILL)
            await owner.wait_said("worker 1 has ended, status -9: it is started again in 0.5 s")
            owner.said = ""
            await owner.wait_said("* w-1 serves at ")
            members = await swimring_json("members", "--join", address[1])
            assert {(one["name"], one["status"]) for one in members} == {("w-1", "alive"), ("w-2", "alive")}
            owner.signal(signal.SIGTERM)
            assert await owner.wait_ended() == 0
            assert "Traceback" not in owner.said
