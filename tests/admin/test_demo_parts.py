"""The parts of the demo that need no process: the corpus, the comparison, what is shown."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from rich.console import Console

from swimring.admin.demo.corpus import count_alone, count_words, differences, source_files
from swimring.admin.demo.display import Display, Result, print_next, print_result
from swimring.errors import ConfigError
from swimring.testing import open_sim_cluster, run_simulation
from tests.node.nodes import Shop

if TYPE_CHECKING:
    from pathlib import Path

RESULT = Result(
    seconds=1.25,
    files=4,
    words=1_000,
    distinct=10,
    calls=20,
    retries=3,
    streamed_again=2,
    killed="demo-1-2",
    killed_after=0.5,
    noticed_after=0.02,
    views={"demo-1-1": "demo-1-1 alive, demo-1-2 dead"},
    differences={},
)


def shown(result: Result) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_result(console, result)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_word_is_a_run_of_ascii_letters_in_lower_case() -> None:
    assert count_words(b"The cat, the HAT: cat_9 \xc3\xa9t\xc3\xa9") == {"the": 2, "cat": 2, "hat": 1, "t": 1}
    assert count_words(b"") == {}


def test_the_corpus_is_sorted_the_same_each_time_and_has_no_tests() -> None:
    files = source_files()
    assert len(files) > 100
    assert files == sorted(files) == source_files()
    assert not any("test" in path.parts or "site-packages" in path.parts for path in files)
    assert source_files(7) == files[:7]


@pytest.mark.parametrize("limit", [0, -3])
def test_a_corpus_of_nothing_is_an_error(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"files: found {limit}; at least 1"):
        source_files(limit)


def test_the_result_to_compare_with_is_the_sum_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one two")
    (tmp_path / "b").write_bytes(b"two three")
    assert count_alone([tmp_path / "a", tmp_path / "b"]) == {"one": 1, "two": 2, "three": 1}


@pytest.mark.parametrize(
    ("ring", "alone", "different"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({}, {}, {}),
        ({"a": 1}, {"a": 2}, {"a": (1, 2)}),
        ({}, {"a": 2, "b": 1}, {"a": (0, 2), "b": (0, 1)}),
        ({"a": 1}, {}, {"a": (1, 0)}),
    ],
)
def test_totals_that_differ_are_told_word_by_word(
    ring: dict[str, int], alone: dict[str, int], different: dict[str, tuple[int, int]]
) -> None:
    assert differences(Counter(ring), Counter(alone)) == different


def test_the_demo_succeeds_only_if_the_totals_are_equal() -> None:
    assert (RESULT.equal, RESULT.exit_status) == (True, 0)
    wrong = replace(RESULT, differences={"import": (1, 2)})
    assert (wrong.equal, wrong.exit_status) == (False, 1)


def test_the_table_shows_time_calls_retries_members_and_whether_it_is_equal() -> None:
    text = shown(RESULT)
    for row in (
        "1.2 s",
        "1,000 (10 distinct)",
        "20 by the driver",
        "demo-1-2 at 0.5 s, noticed after 0.02 s",
        "2 files",
    ):
        assert row in text
    assert "members, by demo-1-1" in text
    assert "demo-1-1 alive, demo-1-2 dead" in text
    assert text.rstrip().splitlines()[-1] == "equal: yes"
    assert "not seen" in shown(replace(RESULT, noticed_after=None))


def test_a_wrong_count_is_shown_with_the_words() -> None:
    text = shown(replace(RESULT, differences={f"w{i}": (i, i + 1) for i in range(50)}))
    assert "w3: 3 on the ring, 4 in a single process" in text
    assert "w10:" not in text, "ten of them will do"
    assert text.rstrip().splitlines()[-1] == "equal: no"


def test_what_to_type_next_names_the_cluster() -> None:
    console = Console(file=io.StringIO(), width=120)
    print_next(console, "demo-1")
    assert isinstance(console.file, io.StringIO)
    assert "swimring members --cluster demo-1" in console.file.getvalue()


def test_the_progress_bar_shows_files_calls_members_and_the_kill() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)

    async def main() -> None:
        shop = Shop()
        async with open_sim_cluster() as cluster:
            one, two, three = await cluster.start(3, shop.service, profile="local")
            await cluster.settled()
            display = Display(console, one.node, shop.service, total=4)
            async with display.shown():
                for number in range(4):
                    for i in range(10):
                        await two.node.call(shop.where, f"k{i}")
                    display.file_done()
                    await trio.sleep(0.3)
                    if number == 1:
                        three.crash()
                        display.killed("n3")
                display.more(2)
                await trio.sleep(1)
            assert display.killed_after == pytest.approx(0.6, abs=0.1)
            assert display.noticed_after is not None
            assert 0 < display.noticed_after < 1

    run_simulation(main, seed=1)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for part in (
        "1/4 files",
        "4/6 files",
        "n1:alive n2:alive n3:alive",
        "n3:dead",
        "kill -9 n3 at 0.6s",
    ):
        assert part in text
    assert re.search(r" [1-9]\d* calls/s", text)
