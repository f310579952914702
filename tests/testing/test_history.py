"""What a report shows of the nodes: side by side, however many there are and however much they say."""

from __future__ import annotations

import trio

from swimring.testing import History, run_simulation


def timeline_of(happened: dict[str, list[str]]) -> list[str]:
    async def main() -> list[str]:
        history = History()
        for name, texts in happened.items():
            for text in texts:
                history.note(name, text)
                await trio.sleep(1)
        return history.timeline()

    return run_simulation(main, seed=0)


def test_nothing_that_happened_is_nothing_to_show() -> None:
    assert timeline_of({}) == []


def test_nodes_have_columns_and_lines_are_in_the_order_of_time() -> None:
    assert timeline_of({"n1": ["n2 joined", "n2 failed"], "n2": ["n1 joined"]}) == [
        "              n1         n2",
        "     0.000 s  n2 joined  .",
        "     1.000 s  n2 failed  .",
        "     2.000 s  .          n1 joined",
    ]


def test_what_is_wider_than_its_column_goes_on_below() -> None:
    lines = timeline_of({f"n{number}": ["gained 33% of a service with a long name"] for number in range(1, 6)})
    assert lines[:4] == [
        "              n1                   n2                   n3                   n4                   n5",
        "     0.000 s  gained 33% of a      .                    .                    .                    .",
        "              service with a long",
        "              name",
    ]
    assert max(map(len, lines)) <= 120


def test_many_nodes_have_a_table_for_every_six() -> None:
    lines = timeline_of({f"n{number}": ["came"] for number in range(1, 9)})
    assert [line.split() for line in lines if "n" in line] == [
        ["n1", "n2", "n3", "n4", "n5", "n6"],
        ["n7", "n8"],
    ]
    assert len(lines) == 1 + 6 + 1 + 1 + 2


def test_the_last_twelve_events_of_a_node_are_shown() -> None:
    lines = timeline_of({"n1": [f"event {number}" for number in range(20)]})
    assert [line.split()[-1] for line in lines[1:]] == [str(number) for number in range(8, 20)]
