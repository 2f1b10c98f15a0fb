"""Records in messages that a broker takes."""

from edgeops import limits
from edgeops.protocol.fitting import fitted
from edgeops.protocol.messages import Record, Records, encode


def records(*sizes):
    made = tuple(Record(seq=seq, age_ms=0, at_ms=0, data=bytes(size)) for seq, size in enumerate(sizes))
    return Records(spool=b"12345678", records=made)


def seqs(parts):
    return [[record.seq for record in part.records] for part in parts]


def test_for_a_broker_without_a_limit_of_its_own_nothing_is_cut():
    body = records(10_000, 10_000)
    assert list(fitted(body, limits.MAX_MESSAGE_BYTES)) == [body]


def test_records_are_cut_into_messages_that_fit_each_once_and_in_order():
    parts = list(fitted(records(3_000, 3_000, 3_000, 100), 8_000))
    assert seqs(parts) == [[0, 1], [2, 3]]
    assert all(len(encode(part)) <= 8_000 - 300 for part in parts)


def test_a_record_that_fits_nowhere_goes_alone():
    assert seqs(fitted(records(100, 9_000, 100), 8_000)) == [[0], [1], [2]]
