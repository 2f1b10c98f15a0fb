"""Every parser of what comes from outside ends in a value or in an error that it declares, within its bounds."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parser import check
from tests.fuzz.table import PARSERS


@st.composite
def damaged(draw, seeds):
    """A seed with some bytes replaced, removed or repeated; or any bytes."""
    data = draw(st.one_of(st.sampled_from(seeds), st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        until = draw(st.integers(at, min(len(data), at + 8)))
        put = draw(
            st.one_of(st.binary(max_size=8), st.sampled_from([data[at : at + 40], b"\xff" * 8, b"-1", b"1e999"]))
        )
        data = data[:at] + put + data[until:]
    return data


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_what_it_should(name):
    parser = PARSERS[name]
    assert check(parser, parser.seeds()[0])


@pytest.mark.parametrize("name", PARSERS)
def test_a_seed_that_was_kept_breaks_nothing(name):
    for seed in PARSERS[name].seeds():
        check(PARSERS[name], seed)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_ends_in_a_value_or_in_an_error_that_it_declares(name):
    parser = PARSERS[name]
    seeds = list(parser.seeds())

    @settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
    @given(damaged(seeds))
    def property_of_it(data):
        check(parser, data)

    property_of_it()
