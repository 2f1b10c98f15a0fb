"""Topic names from anybody become values or a TopicError, never anything else."""

import pytest

from edgeops.digest import digest_bytes, digest_hex
from edgeops.errors import TopicError
from edgeops.protocol.topics import Block, Down, DownKind, Up, UpKind, parse_topic

DIGEST = digest_bytes(b"blob")


@pytest.mark.parametrize("topic", [Up("meter-1", UpKind.FETCH), Down("meter-1", DownKind.ACK), Block(DIGEST, 1048575)])
def test_a_topic_is_read_as_it_was_written(topic):
    assert parse_topic(str(topic)) == topic


@pytest.mark.parametrize(
    "last", ["", "-1", "01", "1048576", "1" * 5000, "\u0661", "1.0"], ids=lambda last: repr(last[:8])
)
def test_a_block_index_out_of_bounds_is_no_topic(last):
    with pytest.raises(TopicError):
        parse_topic(f"edgeops/v1/blob/{digest_hex(DIGEST)}/{last}")


@pytest.mark.parametrize("text", ["", "edgeops/v1/up/meter-1", "edgeops/v1/up/M/ack", "edgeops/v1/down/meter-1/status"])
def test_a_name_outside_the_protocol_is_no_topic(text):
    with pytest.raises(TopicError):
        parse_topic(text)
