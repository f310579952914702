"""When a cluster has formed: what a member says while it waits, and what counts."""

from __future__ import annotations

import pytest

from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.swim import (
    Member,
    Metadata,
    Status,
    all_have_formed,
    count_gathered,
    gathers,
    is_formed,
    while_gathering,
)

OWNER = Metadata(services=("kv",), zone="z", tags={"a": "b"})
IDLE = Metadata(services=("kv",), weight=0)
ASKER = Metadata()


def member(name: str, metadata: Metadata, status: Status = Status.ALIVE) -> Member:
    return Member(
        name=name,
        address=Address(name, 7979),
        generation=1,
        incarnation=1,
        status=status,
        metadata=metadata,
    )


def waiting(name: str, metadata: Metadata = OWNER, status: Status = Status.ALIVE) -> Member:
    return member(name, while_gathering(metadata, expect=3), status)


def test_who_waits_offers_nothing_takes_no_keys_and_says_the_rest() -> None:
    told = while_gathering(OWNER, expect=3)
    assert (told.services, told.weight, told.zone) == ((), 0, "z")
    assert told.tags == {"a": "b", "swimring.gathering": "3"}
    assert gathers(waiting("a"))
    assert not gathers(member("a", OWNER))


def test_a_tag_of_that_name_is_ours() -> None:
    with pytest.raises(ConfigError, match=r"swimring\.gathering"):
        while_gathering(Metadata(tags={"swimring.gathering": "3"}), expect=3)


@pytest.mark.parametrize(
    ("members", "formed"),
    [
        ([waiting("a"), waiting("b")], False),
        ([waiting("a"), waiting("b"), waiting("c")], True),
        ([waiting("a"), waiting("b"), waiting("c", status=Status.SUSPECT)], False),
        ([waiting("a"), waiting("b"), waiting("c", status=Status.DEAD)], False),
        ([waiting("a"), waiting("b"), waiting("c", status=Status.LEFT)], False),
        ([waiting("a"), waiting("b"), waiting("c", IDLE)], False),
        ([waiting("a"), waiting("b"), waiting("c", ASKER)], False),
        ([waiting("a"), waiting("b"), member("c", IDLE), member("d", ASKER)], False),
        ([waiting("a"), member("b", OWNER)], True),
        ([waiting("a"), member("b", OWNER, Status.SUSPECT)], False),
        ([waiting("a"), member("b", OWNER, Status.DEAD)], False),
        ([waiting("a", ASKER), waiting("b"), waiting("c"), waiting("d")], True),
    ],
)
def test_a_cluster_is_formed_by_enough_owners_to_be_or_by_one_that_owns(members: list[Member], formed: bool) -> None:
    assert is_formed(members, expect=3) is formed


def test_of_the_living_who_waits_and_who_owns_is_counted() -> None:
    members = [
        waiting("a"),
        member("b", OWNER),
        member("c", ASKER),
        waiting("d", ASKER),
        waiting("e", status=Status.DEAD),
    ]
    assert count_gathered(members) == 2


def test_all_have_formed_when_nobody_alive_waits() -> None:
    assert all_have_formed([member("a", OWNER), waiting("b", status=Status.DEAD), waiting("c", status=Status.SUSPECT)])
    assert not all_have_formed([member("a", OWNER), waiting("b")])
