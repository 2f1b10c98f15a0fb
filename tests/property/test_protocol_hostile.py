"""Bytes that once got by a parser or broke it; what may come at all is in tests/property/test_parsers.py."""

import msgspec
import pytest

from edgeops.errors import MessageError, TopicError
from edgeops.protocol import messages
from edgeops.protocol.envelope import VERSION, open_envelope
from edgeops.protocol.topics import parse_topic


def test_a_block_index_of_thousands_of_digits_is_refused():
    # Python refuses to convert more than 4,300 digits with an error of its own.
    with pytest.raises(TopicError):
        parse_topic(f"edgeops/v1/blob/{'a' * 64}/{'9' * 5000}")


def test_a_kind_that_is_not_utf_8_is_refused():
    with pytest.raises(MessageError):
        open_envelope(b"\x99" + bytes([VERSION]) + b"\xa1\xff", device="camera-1", kind="status", keys={})


def test_what_a_device_tells_of_itself_is_bounded():
    facts = {"runtime": "litert", "runtime_version": "2", "python": "3.11", "memory_bytes": 1, "disk_free_bytes": 1}
    for arch, counters in (("x" * 101, {}), ("x86_64", {f"counter.{number}": 1 for number in range(257)})):
        told = messages.Reported(
            desired_epoch=0,
            desired_revision=0,
            facts=messages.DeviceFacts(arch=arch, **facts),
            deployments=(),
            counters=counters,
        )
        with pytest.raises(MessageError):
            messages.decode(messages.encode(told), messages.Reported)


@pytest.mark.parametrize("kind", [messages.Id, messages.Digest])
def test_an_id_or_digest_ends_with_its_last_character(kind):
    text = "camera-1" if kind is messages.Id else "sha256:" + "5a" * 32
    assert messages.decode(msgspec.msgpack.encode(text), kind) == text
    with pytest.raises(MessageError):
        messages.decode(msgspec.msgpack.encode(text + "\n"), kind)
