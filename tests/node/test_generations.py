"""Lives in order: the generation of a node that keeps it on its disk, whatever its clock says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from swimring.errors import ConfigError, StoreError
from swimring.node import open_node
from swimring.testing import SimCluster, open_sim_cluster, run_simulation

if TYPE_CHECKING:
    from pathlib import Path

YEAR = 365 * 24 * 3600.0


async def test_a_life_is_later_than_the_last_one_even_if_the_clock_was_set_back(tmp_path: Path) -> None:
    async with open_node(cluster="c", state=tmp_path) as node:
        first = node.me.generation
        assert (tmp_path / "swimring-generation").read_bytes() == b"%d" % first
    ahead = first + 1_000_000_000
    (tmp_path / "swimring-generation").write_bytes(b"%d" % ahead)
    async with open_node(cluster="c", state=str(tmp_path)) as node:
        assert node.me.generation == ahead + 1
    assert (tmp_path / "swimring-generation").read_bytes() == b"%d" % (ahead + 1)


async def test_a_generation_that_cannot_be_read_stops_the_node_before_anybody_hears_of_it(tmp_path: Path) -> None:
    (tmp_path / "swimring-generation").write_bytes(b"what?")
    with pytest.raises(StoreError, match=re.escape("holds b'what?'")):
        async with open_node(cluster="c", state=tmp_path):
            raise AssertionError


async def test_a_node_without_state_has_no_files(tmp_path: Path) -> None:
    async with open_node(cluster="c") as node:
        with pytest.raises(ConfigError, match="state: not set"):
            node.store  # noqa: B018


def restart_with_the_clock_set_back(seed: int, *, data: bool, alone: bool) -> tuple[int, int]:
    """The generations of two lives, the second with a clock that is a year behind."""

    async def scenario(cluster: SimCluster) -> tuple[int, int]:
        first, *_ = await cluster.start(1 if alone else 3)
        await cluster.settled()
        before = first.node.me.generation
        first.crash()
        with cluster.clock_skew(-YEAR, first):
            await first.restart(data=data)
            await cluster.settled()
            return before, first.node.me.generation

    async def main() -> tuple[int, int]:
        async with open_sim_cluster() as cluster:
            return await scenario(cluster)

    return run_simulation(main, seed=seed)


def test_with_its_data_a_node_that_is_alone_knows_its_last_life(seed: int) -> None:
    before, after = restart_with_the_clock_set_back(seed, data=True, alone=True)
    assert after == before + 1


def test_without_its_data_a_node_learns_of_its_last_life_from_the_others_if_there_are_any(seed: int) -> None:
    before, after = restart_with_the_clock_set_back(seed, data=False, alone=False)
    assert after == before + 1
    before, after = restart_with_the_clock_set_back(seed, data=False, alone=True)
    assert after < before


def test_what_was_learnt_from_the_others_is_on_the_disk(seed: int) -> None:
    async def main() -> None:
        async with open_sim_cluster() as cluster:
            first, *_ = await cluster.start(3)
            await cluster.settled()
            first.crash()
            with cluster.clock_skew(-YEAR, first):
                await first.restart(data=False)
                await cluster.settled()
            assert first.disk.content("swimring-generation") == b"%d" % first.node.me.generation

    run_simulation(main, seed=seed)
