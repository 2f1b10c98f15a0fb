"""The chain of the audit trail, and the head that a signed timestamp names."""

import shutil
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tuf.api.metadata import Metadata

from edgeops.errors import ConfigError, InputError, TrustError
from edgeops.trust.anchor import read_anchor
from edgeops.trust.repository import Repository
from edgeops.trust.trail import GENESIS, Anchor, Broken, Contradicted, Entry, Intact, check_trail, hash_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def trail(count, *, word="did"):
    entries, previous = [], GENESIS
    for number in range(1, count + 1):
        fields = (NOW + timedelta(seconds=number), "ann", "thing.done", f"thing-{number}", "", {"word": word})
        hashed = hash_of(previous, *fields)
        at, actor, action, subject, remark, data = fields
        entries.append(
            Entry(
                id=number, at=at, actor=actor, action=action, subject=subject, remark=remark, data=data,
                previous_hash=previous, hash=hashed,
            )
        )  # fmt: skip
        previous = hashed
    return entries


def anchor_of(entries):
    return Anchor(entries=len(entries), head=entries[-1].hash)


@pytest.fixture
def repository(tmp_path):
    return Repository.create(tmp_path / "repository", tmp_path / "keys", NOW)


@pytest.fixture
def kept(tmp_path, repository):
    """What a device keeps: root and timestamp, after the trail's head was signed."""
    repository.anchor(anchor_of(trail(5)), NOW)
    folder = tmp_path / "kept"
    folder.mkdir()
    shutil.copy(tmp_path / "repository/metadata/1.root.json", folder / "root.json")
    shutil.copy(tmp_path / "repository/metadata/timestamp.json", folder / "timestamp.json")
    return folder


@pytest.mark.parametrize("count", [0, 1, 7])
def test_an_untouched_trail_holds(count):
    entries = trail(count)
    assert check_trail(entries) == Intact(count, entries[-1].hash if entries else GENESIS)


@pytest.mark.parametrize("place", range(4))
def test_a_changed_entry_is_the_first_broken_one(place):
    entries = trail(4)
    entries[place] = msgspec.structs.replace(entries[place], actor="bob")
    assert check_trail(entries) == Broken(place + 1)
    assert check_trail(entries).reason == f"the chain breaks at entry {place + 1}"


@pytest.mark.parametrize("place", range(3))
def test_a_removed_entry_breaks_the_one_behind_it(place):
    entries = trail(4)
    del entries[place]
    assert check_trail(entries) == Broken(place + 2)


def test_a_cut_tail_contradicts_the_anchor_and_says_so():
    found = check_trail(trail(5)[:4], anchor_of(trail(5)))
    assert isinstance(found, Contradicted)
    assert "4 entries, and 5 were signed: the tail was cut off" in found.reason
    assert trail(5)[4].hash in found.reason, "what was signed is named"


def test_a_trail_written_anew_contradicts_the_anchor_and_says_so():
    found = check_trail(trail(6, word="did not"), anchor_of(trail(5)))
    assert isinstance(found, Contradicted)
    assert "entry 5 is not the one that was signed" in found.reason


def test_a_trail_of_the_same_length_that_is_another_was_written_anew():
    found = check_trail(trail(5, word="did not"), anchor_of(trail(5)))
    assert isinstance(found, Contradicted)
    assert "entry 5 is not the one that was signed" in found.reason


def test_a_trail_that_went_on_holds_what_was_anchored():
    assert isinstance(check_trail(trail(9), anchor_of(trail(5))), Intact)
    assert isinstance(check_trail(trail(5), anchor_of(trail(5))), Intact)


def test_the_end_of_a_trail_is_checked_without_its_beginning():
    entries, anchor = trail(9), anchor_of(trail(5))
    assert check_trail(entries[4:], anchor, before=4) == Intact(9, entries[8].hash)
    assert check_trail(entries[5:], anchor, before=5) == Contradicted(9, anchor), "the anchored one is not among them"
    other = trail(9, word="did not")
    assert check_trail(other[4:], anchor, before=4) == Contradicted(9, anchor)
    assert check_trail([], anchor, before=3) == Contradicted(3, anchor)
    assert check_trail(entries[1:], anchor_of(trail(2)), before=1) == Intact(9, entries[8].hash)


@pytest.mark.parametrize("place", [4, 6, 8])
def test_an_entry_that_was_changed_at_the_end_of_a_trail_is_named(place):
    entries = trail(9)
    entries[place] = msgspec.structs.replace(entries[place], actor="bob")
    assert check_trail(entries[4:], anchor_of(trail(5)), before=4) == Broken(place + 1)
    del entries[place]
    if place < 8:
        assert isinstance(check_trail(entries[3:], anchor_of(trail(4)), before=3), Broken)


def test_without_a_beginning_left_out_the_first_entry_leads_back_to_nothing():
    assert check_trail(trail(3)[1:]) == Broken(2)


def test_the_anchor_of_an_empty_trail_says_nothing():
    assert isinstance(check_trail(trail(0), Anchor(entries=0, head=GENESIS)), Intact)
    assert isinstance(check_trail(trail(2), Anchor(entries=0, head=GENESIS)), Intact)


@pytest.mark.parametrize("anchor", [Anchor(entries=3, head=GENESIS), Anchor(entries=0, head=trail(1)[0].hash)])
def test_an_anchor_that_names_no_entry_of_the_trail_contradicts_it(anchor):
    assert isinstance(check_trail(trail(2), anchor), Contradicted)


def test_hashes_are_computed_as_those_of_every_trail_there_is():
    assert GENESIS == "sha256:0000000000000000000000000000000000000000000000000000000000000000"
    assert trail(1)[0].hash == "sha256:6e9426a0a4eb986daaea623e2be9ca6960dd79d59639d1a836ec3d08a9d84b90"


def test_an_export_says_the_same_after_its_way_through_a_file():
    lines = [msgspec.json.encode(one) for one in trail(3)]
    assert check_trail([msgspec.json.decode(line, type=Entry) for line in lines]) == check_trail(trail(3))


def test_the_timestamp_names_the_head_and_is_signed_with_it(kept):
    assert read_anchor(kept) == (anchor_of(trail(5)), 2)


def test_the_same_head_is_not_signed_again(repository, kept):
    assert repository.anchor(anchor_of(trail(5)), NOW) is False
    assert repository.anchor(anchor_of(trail(6)), NOW)
    assert repository.anchored() == anchor_of(trail(6))


def test_a_publication_keeps_the_head(repository, kept):
    repository.publish({"fleet/keys.json": b"{}"}, NOW)
    assert repository.anchored() == anchor_of(trail(5))


def test_a_clock_that_stands_before_the_root_signs_no_head(repository):
    assert not repository.anchor(anchor_of(trail(1)), datetime(1970, 1, 1, tzinfo=UTC))


def test_a_head_that_somebody_else_wrote_is_not_believed(kept):
    timestamp = Metadata.from_file(str(kept / "timestamp.json"))
    timestamp.signed.unrecognized_fields["x-edgeops-audit"]["entries"] = 4
    timestamp.to_file(str(kept / "timestamp.json"))
    with pytest.raises(TrustError, match="not signed by the keys"):
        read_anchor(kept)


def test_a_root_that_its_own_keys_did_not_sign_is_no_witness(kept):
    root = Metadata.from_file(str(kept / "root.json"))
    root.signed.version += 1
    root.to_file(str(kept / "root.json"))
    with pytest.raises(TrustError, match="not signed by the keys"):
        read_anchor(kept)


@pytest.mark.parametrize("name", ["root.json", "timestamp.json"])
def test_another_role_in_place_of_a_witness_is_no_witness(kept, name, tmp_path):
    shutil.copy(tmp_path / "repository/metadata/1.snapshot.json", kept / name)
    with pytest.raises(TrustError, match="snapshot metadata where"):
        read_anchor(kept)


def test_a_head_that_is_signed_and_unreadable_is_told(repository, kept, tmp_path):
    repository.anchor(Anchor(entries="six", head=GENESIS), NOW)
    shutil.copy(tmp_path / "repository/metadata/timestamp.json", kept / "timestamp.json")
    with pytest.raises(InputError, match="says of the audit trail is unreadable"):
        read_anchor(kept)


def test_a_head_is_signed_only_where_the_timestamp_key_is(tmp_path, repository):
    (tmp_path / "keys/timestamp.pem").unlink()
    without = Repository.open(tmp_path / "repository", tmp_path / "keys")
    with pytest.raises(ConfigError, match="the timestamp key is not on this machine"):
        without.anchor(anchor_of(trail(1)), NOW)
    assert without.anchored() is None


@pytest.mark.parametrize("name", ["root.json", "timestamp.json"])
def test_a_missing_or_unreadable_witness_is_told(kept, name):
    (kept / name).write_bytes(b"{")
    with pytest.raises(InputError, match="cannot read"):
        read_anchor(kept)
    (kept / name).unlink()
    with pytest.raises(InputError, match="cannot read"):
        read_anchor(kept)


def test_a_timestamp_from_before_says_that_it_says_nothing(tmp_path, repository):
    shutil.copy(tmp_path / "repository/metadata/1.root.json", tmp_path / "repository/metadata/root.json")
    with pytest.raises(InputError, match="says nothing of the audit trail"):
        read_anchor(tmp_path / "repository/metadata")
