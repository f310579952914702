"""Items on a byte stream: their bytes, however they are cut, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.mux import ItemReader, pack_item

VALUES = st.recursive(st.none() | st.integers(-99, 99) | st.text() | st.binary(), st.lists, max_leaves=5)


def test_the_bytes_of_an_item_are_its_length_and_its_value() -> None:
    assert pack_item({"a": 1}, limit=100).hex() == "00000004a1616101"
    assert pack_item(None, limit=100).hex() == "00000001f6"


@given(st.lists(VALUES), st.data())
def test_items_come_out_as_they_went_in_however_they_are_cut(values: list[object], data: st.DataObject) -> None:
    wire = b"".join(pack_item(value, limit=10_000) for value in values)
    reader, found, at = ItemReader(10_000), [], 0
    while at < len(wire):
        size = data.draw(st.integers(1, 40))
        found += [decode(item) for item in reader.feed(wire[at : at + size])]
        at += size
    reader.finish()
    assert found == values


def test_items_come_out_byte_by_byte_and_whole() -> None:
    wire = pack_item("one", limit=99) + pack_item([2, 3], limit=99)
    reader = ItemReader(99)
    singly = [item for i in range(len(wire)) for item in reader.feed(wire[i : i + 1])]
    assert singly == ItemReader(99).feed(wire) == [encode("one"), encode([2, 3])]


@pytest.mark.parametrize("length", [0, 100, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_the_item_comes(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"an item of {length} bytes; from 1 to 99"):
        ItemReader(99).feed(length.to_bytes(4, "big"))


def test_an_end_within_an_item_is_refused() -> None:
    wire = pack_item("abc", limit=99)
    for size in range(1, len(wire)):
        reader = ItemReader(99)
        assert reader.feed(wire[:size]) == []
        with pytest.raises(RemoteProtocolError, match=f"{size} bytes into an item"):
            reader.finish()


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_any_bytes_give_items_or_are_refused_and_no_more_than_one_item_is_kept(chunks: list[bytes]) -> None:
    reader, received, given_out = ItemReader(64), 0, 0
    for chunk in chunks:
        try:
            items = reader.feed(chunk)
        except RemoteProtocolError:
            return
        received += len(chunk)
        given_out += sum(4 + len(item) for item in items)
        assert received - given_out < 4 + 64


def test_an_item_that_the_other_side_would_refuse_is_not_sent() -> None:
    assert len(pack_item(b"x" * 97, limit=99)) == 103
    with pytest.raises(LocalProtocolError, match="an item of 100 bytes; the other side takes 99"):
        pack_item(b"x" * 98, limit=99)
