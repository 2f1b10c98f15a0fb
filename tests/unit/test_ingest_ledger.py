"""The ledger of a spool says exactly which records are committed."""

from hypothesis import given
from hypothesis import strategies as st

from edgeops import limits
from fleet_server.link.ledger import Ledger

SEQS = st.integers(min_value=0, max_value=60)


@given(st.lists(st.lists(SEQS, min_size=1, max_size=4)))
def test_it_holds_what_was_added_and_nothing_else(additions):
    ledger, added = Ledger(), set()
    for seqs in additions:
        ledger = ledger.add(*seqs)
        added |= set(seqs)
        assert {seq for seq in range(70) if ledger.holds(seq)} == added


@given(st.lists(SEQS))
def test_ranges_are_ordered_apart_and_above(seqs):
    ledger = Ledger()
    for seq in seqs:
        ledger = ledger.add(seq)
    above = ledger.through
    for first, last in ledger.ranges:
        assert above + 1 < first <= last
        above = last


def test_backlog_that_flows_newest_first_is_one_range_until_it_closes():
    ledger = Ledger()
    for seq in range(99, 0, -1):
        ledger = ledger.add(seq)
    assert ledger == Ledger(-1, ((1, 99),))
    assert ledger.add(0) == Ledger(99)


def test_endless_gaps_are_not_counted_and_nothing_held_is_forgotten():
    ledger = Ledger()
    for seq in range(1, 4 * limits.MAX_SPOOL_RANGES, 2):
        ledger = ledger.add(seq)
    assert len(ledger.ranges) == limits.MAX_SPOOL_RANGES
    assert ledger.holds(1)
    assert not ledger.holds(4 * limits.MAX_SPOOL_RANGES - 1)
    assert ledger.add(0).through == 1


def test_numbers_that_a_record_repeats_count_once():
    assert Ledger().add(*[7] * 1_000, 7) == Ledger(-1, ((7, 7),))
