"""Whatever bytes arrive, reading them ends in a value or in an error of the tree: nothing else gets out."""

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.downlink import Downlink, Refused, UnknownKey
from edgeops.artifact.blockplan import BlockMap
from edgeops.artifact.manifest import decode_manifest
from edgeops.errors import ArtifactError, MessageError, PeerError, TopicError
from edgeops.protocol import messages
from edgeops.protocol.envelope import VERSION, open_envelope
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.topics import DownKind, parse_topic
from edgeops.sketch.reference import decode_reference
from edgeops.trust.keyring import AcceptedKeys

_KEY = SigningKey.generate().public
#: Marks are only read.
_NOWHERE = Path("/nonexistent/marks.json")
_BODIES = (
    messages.Status,
    messages.Reported,
    messages.Records,
    messages.Window,
    messages.Predictions,
    messages.Report,
    messages.Wish,
    messages.Response,
    messages.Desired,
    messages.Ack,
    messages.Command,
    messages.MetaPart,
)
#: Texts that are not UTF-8 go through MessagePack's `str` only when they are written by hand.
_BROKEN_TEXT = st.binary(min_size=1, max_size=31).map(lambda data: bytes([0xA0 | len(data)]) + data)
_VALUE = st.one_of(
    _BROKEN_TEXT,
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.binary(), st.text()).map(
        msgspec.msgpack.encode
    ),
)
_ARRAY = st.lists(_VALUE, max_size=12).map(lambda items: bytes([0x90 | len(items)]) + b"".join(items))
_BYTES = st.one_of(st.binary(max_size=200), _ARRAY, st.integers(1, 70_000).map(lambda depth: b"\x91" * depth))


@given(_BYTES)
def test_an_envelope_is_refused_by_an_error_of_the_tree(data):
    with suppress(PeerError):
        open_envelope(data, device="camera-1", kind="status", keys={_KEY.key_id: _KEY})


@given(_BYTES, st.sampled_from(_BODIES))
def test_a_body_is_refused_by_an_error_of_the_tree(data, kind):
    with suppress(MessageError):
        messages.decode(data, kind)


@given(_BYTES)
def test_a_device_hears_anything_and_believes_none_of_it(data):
    ear = Downlink("camera-1", _NOWHERE)
    assert isinstance(
        ear.hear(DownKind.DESIRED, data, AcceptedKeys({_KEY.key_id: _KEY}, {_KEY.key_id: 1})), Refused | UnknownKey
    )


@given(_BYTES)
def test_a_damaged_file_is_refused_by_an_error_of_the_tree(data):
    for read in (BlockMap.from_bytes, decode_reference, decode_manifest):
        with suppress(ArtifactError):
            read(data)


@given(st.text(max_size=200))
def test_a_topic_is_refused_by_an_error_of_the_tree(text):
    with suppress(TopicError):
        parse_topic(text)


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
