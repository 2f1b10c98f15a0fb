"""However blocks arrive, a map knows exactly what is there."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.artifact.blockplan import Acceptance, BlockMap, block_list, wished, wishes
from edgeops.digest import digest_bytes

BLOCK = 7
blobs = st.binary(min_size=1, max_size=200)


@settings(deadline=None, max_examples=60)
@given(blobs, st.data())
def test_only_right_blocks_are_written_and_each_once(blob, data):
    blocks = BlockMap(len(blob), BLOCK, block_list(blob, BLOCK))
    written = bytearray(len(blob))
    expected = set(range(blocks.count))
    for _ in range(60):
        index = data.draw(st.integers(-2, blocks.count + 2))
        payload = data.draw(st.sampled_from([blob[max(index, 0) * BLOCK :][:BLOCK], b"", b"forged!"]))
        if blocks.accept(index, payload) is Acceptance.ACCEPTED:
            assert index in expected
            expected.discard(index)
            written[blocks.offset(index) : blocks.offset(index) + len(payload)] = payload
        blocks = BlockMap.from_bytes(blocks.to_bytes())
        assert set(blocks.missing()) == expected
    for index in blocks.missing():
        payload = blob[index * BLOCK :][:BLOCK]
        assert blocks.accept(index, payload) is Acceptance.ACCEPTED
        written[blocks.offset(index) : blocks.offset(index) + len(payload)] = payload
    assert blocks.complete
    assert bytes(written) == blob


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, 2000), max_size=100))
def test_wishes_ask_for_exactly_what_is_missing(missing):
    asked = wishes(digest_bytes(b""), sorted(missing))
    assert sorted(index for wish in asked for index in wished(wish)) == sorted(missing)
    assert all(1 <= len(wish.bitmap) <= 8 for wish in asked)
