"""Numbers of few bytes: each has one form, and a reader goes no further than its bytes."""

import pytest

from edgeops.errors import MessageError
from edgeops.sketch.varint import Reader, put, unzigzag, zigzag

#: 63 bits, in nine bytes.
MOST = 2**63 - 1


def put_alone(value):
    out = bytearray()
    put(out, value)
    return bytes(out)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16_383, "ff7f"), (16_384, "808001"),
        (2**56, "808080808080808001"), (MOST, "ffffffffffffffff7f"),
    ],
)  # fmt: skip
def test_a_number_has_seven_bits_a_byte_the_lowest_first(value, form):
    assert put_alone(value).hex() == form
    reader = Reader(b"\x00" + bytes.fromhex(form), 1)
    assert reader.varint() == value
    reader.finish()


def test_small_numbers_of_either_sign_take_few_bits():
    assert [zigzag(value) for value in (0, -1, 1, -2, 2, 64)] == [0, 1, 2, 3, 4, 128]
    assert [unzigzag(value) for value in (0, 1, 2, 3, 4, 127)] == [0, -1, 1, -2, 2, -64]


@pytest.mark.parametrize("form", [b"\x80\x00", b"\xff\x00", b"\x80\x80\x00"])
def test_a_longer_form_than_needed_is_no_number(form):
    with pytest.raises(MessageError, match="a longer form than needed"):
        Reader(form, 0).varint()


@pytest.mark.parametrize("form", [b"\x80" * 9 + b"\x01", b"\xff" * 9 + b"\x01", b"\x80" * 9, b"\xff" * 1000])
def test_a_number_of_more_than_63_bits_is_read_no_further(form):
    with pytest.raises(MessageError, match="a number of more than 63 bits"):
        Reader(form, 0).varint()


@pytest.mark.parametrize("form", [b"", b"\x80", b"\xff" * 8])
def test_a_number_that_is_cut_off_is_none(form):
    with pytest.raises(MessageError, match=f"ends at byte {len(form)} inside a number"):
        Reader(form, 0).varint()


@pytest.mark.parametrize(("most", "value"), [(0, 0), (0, 1), (127, 127), (127, 128), (300, 300), (300, 301)])
def test_a_number_beyond_what_is_possible_is_refused(most, value):
    reader = Reader(put_alone(value), 0)
    if value <= most:
        assert reader.varint(most) == value
    else:
        with pytest.raises(MessageError, match=f"{value} where at most {most} is possible"):
            reader.varint(most)
        assert reader.at == 0


def test_a_reader_gives_as_many_bytes_as_it_is_asked_for_or_none():
    reader = Reader(b"abcde", 1)
    assert (reader.take(2), reader.at) == (b"bc", 3)
    with pytest.raises(MessageError, match="ends at byte 5 where 3 more"):
        reader.take(3)
    with pytest.raises(MessageError, match="2 bytes behind its end"):
        reader.finish()
    assert reader.take(2) == b"de"
    reader.finish()
