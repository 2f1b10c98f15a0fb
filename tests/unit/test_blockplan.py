"""Progress of a download by blocks."""

import pytest

from edgeops.artifact.blockplan import Acceptance, BlockMap, block_count, block_list, wished, wishes
from edgeops.digest import digest_bytes
from edgeops.errors import ArtifactError

BLOB = bytes(range(256)) * 10 + b"tail"
BLOCK = 100
DIGEST = digest_bytes(BLOB)


def block(index):
    return BLOB[index * BLOCK : (index + 1) * BLOCK]


@pytest.fixture
def blocks():
    return BlockMap(len(BLOB), BLOCK, block_list(BLOB, BLOCK))


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (100, 1), (101, 2), (200, 2)])
def test_the_last_block_may_be_short(size, count):
    assert block_count(size, BLOCK) == count
    assert len(block_list(bytes(size), BLOCK)) == 32 * count


def test_blocks_in_any_order_complete_the_map(blocks):
    for index in reversed(range(blocks.count)):
        assert not blocks.complete
        assert blocks.accept(index, block(index)) is Acceptance.ACCEPTED
    assert blocks.complete
    assert blocks.missing() == ()
    assert blocks.received == blocks.count


def test_a_repeated_block_is_a_duplicate(blocks):
    blocks.accept(3, block(3))
    assert blocks.accept(3, block(3)) is Acceptance.DUPLICATE


def test_a_corrupted_block_is_a_mismatch_and_stays_missing(blocks):
    assert blocks.accept(3, block(3)[:-1] + b"!") is Acceptance.MISMATCH
    assert 3 in blocks.missing()


def test_a_block_at_the_wrong_place_or_outside_is_a_mismatch(blocks):
    assert blocks.accept(2, block(3)) is Acceptance.MISMATCH
    assert blocks.accept(-1, block(0)) is Acceptance.MISMATCH
    assert blocks.accept(blocks.count, b"") is Acceptance.MISMATCH


def test_a_corrupted_repeat_does_not_unset_a_block(blocks):
    blocks.accept(3, block(3))
    assert blocks.accept(3, b"wrong") is Acceptance.MISMATCH
    assert 3 not in blocks.missing()


def test_missing_gives_the_lowest_first(blocks):
    blocks.accept(1, block(1))
    assert blocks.missing(3) == (0, 2, 3)


def test_the_last_block_has_its_own_length(blocks):
    assert blocks.length(blocks.count - 1) == len(BLOB) % BLOCK
    assert blocks.offset(2) == 200


def test_a_map_survives_a_restart(blocks):
    blocks.accept(1, block(1))
    blocks.accept(20, block(20))
    restored = BlockMap.from_bytes(blocks.to_bytes())
    assert restored.missing() == blocks.missing()
    assert restored.blocks_digest == blocks.blocks_digest
    assert (restored.size, restored.block_bytes) == (len(BLOB), BLOCK)


def test_blocks_lost_in_a_crash_are_found_and_asked_for_again(blocks):
    blocks.accept(1, block(1))
    blocks.accept(2, block(2))
    disk = bytearray(len(BLOB))
    disk[100:300] = BLOB[100:300]
    disk[200:210] = bytes(10)
    assert blocks.recheck(lambda offset, length: bytes(disk[offset : offset + length])) == 1
    assert 2 in blocks.missing()
    assert 1 not in blocks.missing()


def test_blocks_that_were_written_and_not_yet_noted_are_found_again(blocks):
    assert blocks.recheck(lambda offset, length: BLOB[offset : offset + length] if offset < 300 else bytes(length)) == 0
    assert blocks.missing() == tuple(range(3, blocks.count))


def test_a_damaged_map_is_refused(blocks):
    saved = blocks.to_bytes()
    for damaged in (b"", b"garbage", saved[:-1], saved[:20] + b"\x00" + saved[21:]):
        with pytest.raises(ArtifactError, match="anew"):
            BlockMap.from_bytes(damaged)


def test_a_block_list_must_fit_the_size_and_the_descriptor():
    sums = block_list(BLOB, BLOCK)
    with pytest.raises(ArtifactError, match="26 blocks"):
        BlockMap(len(BLOB), BLOCK, sums[:-32])
    with pytest.raises(ArtifactError, match="the descriptor says"):
        BlockMap.verified(len(BLOB), BLOCK, sums=sums, blocks_digest=DIGEST)
    assert not BlockMap.verified(len(BLOB), BLOCK, sums=sums, blocks_digest=digest_bytes(sums)).complete


@pytest.mark.parametrize(("size", "block_bytes"), [(0, 100), (-5, 100), (10**12, 100), (100, 0), (100, 10**6)])
def test_sizes_out_of_bounds_are_refused(size, block_bytes):
    with pytest.raises(ArtifactError, match="out of bounds"):
        BlockMap(size, block_bytes, b"")


def test_no_missing_block_needs_no_wish():
    assert wishes(DIGEST, ()) == ()


def test_blocks_within_64_share_a_wish():
    first, second = wishes(DIGEST, (5, 68, 69))
    assert (first.first, wished(first)) == (5, (5, 68))
    assert len(first.bitmap) == 8
    assert (second.first, second.bitmap) == (69, b"\x01")
