"""Slots appear whole, the pointer moves in one step, and what is damaged never answers."""

import os

import pytest

from device_agent.store.slots import Slots
from device_agent.store.state import DeploymentStore
from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.protocol.messages import UpdateState
from edgeops.update.update import Update

MODELS = [f"model {number}".encode() * 100 for number in range(5)]
DIGESTS = [digest_bytes(model) for model in MODELS]


@pytest.fixture
def slots(tmp_path):
    return Slots(tmp_path)


def stage(slots, tmp_path, number):
    part = tmp_path / "part"
    part.write_bytes(MODELS[number])
    return slots.stage(DIGESTS[number], part, descriptor=b"{}")


def test_nothing_answers_in_the_beginning(slots):
    assert slots.start() is None
    assert slots.active is None


def test_a_staged_model_does_not_answer_until_it_is_committed(slots, tmp_path):
    slot = stage(slots, tmp_path, 0)
    assert slot.path.read_bytes() == MODELS[0]
    assert slots.descriptor(DIGESTS[0]) == b"{}"
    assert slots.active is None
    slots.commit(DIGESTS[0])
    assert slots.active == slot


def test_a_commit_keeps_the_old_model_and_may_be_repeated(slots, tmp_path):
    for number in (0, 1):
        stage(slots, tmp_path, number)
        slots.commit(DIGESTS[number])
    slots.commit(DIGESTS[1])
    assert (slots.pointer.active, slots.pointer.previous) == (DIGESTS[1], DIGESTS[0])
    assert Slots(tmp_path).pointer == slots.pointer


def test_staging_may_be_repeated_after_a_crash(slots, tmp_path):
    stage(slots, tmp_path, 0)
    assert slots.stage(DIGESTS[0], tmp_path / "gone", descriptor=b"{}").path.exists()


def test_a_half_made_slot_is_made_anew(slots, tmp_path):
    half = slots.slot(DIGESTS[0]).path
    half.parent.mkdir()
    half.write_bytes(MODELS[0][:10])
    assert not slots.holds(DIGESTS[0])
    assert stage(slots, tmp_path, 0).path.read_bytes() == MODELS[0]


def test_a_damaged_active_model_gives_way_to_the_previous_and_then_to_none(slots, tmp_path):
    for number in (0, 1):
        stage(slots, tmp_path, number)
        slots.commit(DIGESTS[number])
    slots.slot(DIGESTS[1]).path.write_bytes(b"damaged")
    again = Slots(tmp_path)
    assert again.start() == again.slot(DIGESTS[0])
    assert (again.pointer.active, again.pointer.previous, again.damaged) == (DIGESTS[0], None, 1)
    again.slot(DIGESTS[0]).path.unlink()
    assert Slots(tmp_path).start() is None
    assert Slots(tmp_path).pointer.active is None


def test_what_fell_gives_way_to_the_previous_and_then_to_none_and_is_no_damage(slots, tmp_path):
    for number in (0, 1):
        stage(slots, tmp_path, number)
        slots.commit(DIGESTS[number])
    again = Slots(tmp_path)
    assert again.start(fallen=(DIGESTS[1],)) == again.slot(DIGESTS[0])
    assert (Slots(tmp_path).pointer.active, Slots(tmp_path).pointer.previous, again.damaged) == (DIGESTS[0], None, 0)
    assert Slots(tmp_path).start(fallen=DIGESTS[:2]) is None
    assert Slots(tmp_path).pointer.active is None


def test_where_the_pointer_is_damaged_what_fell_does_not_stand_in(slots, tmp_path):
    stage(slots, tmp_path, 0)
    (tmp_path / "pointer.json").write_bytes(b"{")
    assert Slots(tmp_path).start(committed=DIGESTS[0], fallen=(DIGESTS[0],)) is None


def test_a_damaged_pointer_file_means_no_model(slots, tmp_path):
    stage(slots, tmp_path, 0)
    slots.commit(DIGESTS[0])
    (tmp_path / "pointer.json").write_bytes(b"{")
    again = Slots(tmp_path)
    assert (again.start(), again.damaged) == (None, 1)
    # From then on that is what the pointer says.
    assert Slots(tmp_path).start(committed=DIGESTS[0]) is None


def test_where_the_pointer_is_damaged_what_was_committed_answers_if_it_is_whole(slots, tmp_path):
    for number in (0, 1):
        stage(slots, tmp_path, number)
    slots.slot(DIGESTS[1]).path.write_bytes(b"damaged")
    for committed, answers in ((DIGESTS[1], None), (DIGESTS[0], slots.slot(DIGESTS[0]))):
        (tmp_path / "pointer.json").write_bytes(b"{")
        again = Slots(tmp_path)
        assert (again.start(committed=committed), again.damaged) == (answers, 1)
        assert Slots(tmp_path).start() == answers


def test_a_pointer_that_is_whole_is_believed(slots, tmp_path):
    for number in (0, 1):
        stage(slots, tmp_path, number)
    slots.commit(DIGESTS[0])
    assert Slots(tmp_path).start(committed=DIGESTS[1]) == slots.slot(DIGESTS[0])


def test_idle_slots_are_collected_but_the_newest(slots, tmp_path):
    for number in range(5):
        stage(slots, tmp_path, number)
    slots.commit(DIGESTS[0])
    slots.commit(DIGESTS[1])
    slots.collect(keep=DIGESTS[2])
    kept = {digest for digest in DIGESTS if slots.holds(digest)}
    assert set(DIGESTS[:3]) <= kept
    assert len(kept) == 3 + limits.MAX_IDLE_SLOTS


def test_a_slot_in_use_is_never_dropped(slots, tmp_path):
    stage(slots, tmp_path, 0)
    slots.commit(DIGESTS[0])
    slots.drop(DIGESTS[0])
    assert slots.holds(DIGESTS[0])


def test_a_state_is_read_back_and_a_corrupt_one_set_aside(tmp_path):
    store = DeploymentStore(tmp_path / "gas")
    assert store.load() == Update()
    store.save(Update(state=UpdateState.STAGED))
    assert store.load().state is UpdateState.STAGED
    (tmp_path / "gas" / "update.json").write_bytes(b"not json")
    assert store.load() == Update()
    assert store.damaged == 1
    assert (tmp_path / "gas" / "update.json.corrupt").exists()


@pytest.mark.parametrize("holds", [True, False])
def test_what_was_told_to_run_nothing_runs_nothing_after_a_start_either(slots, tmp_path, holds):
    for number in (0, 1):
        stage(slots, tmp_path, number)
        slots.commit(DIGESTS[number])
    slots.clear()
    if not holds:
        slots.slot(DIGESTS[1]).path.write_bytes(b"damaged")
    for _ in range(2):
        again = Slots(tmp_path)
        assert again.start(committed=DIGESTS[0]) is None
        assert (again.active, again.pointer.previous, again.damaged) == (None, DIGESTS[1], 0)


def test_a_slot_appears_with_its_bytes_on_disk_whoever_wrote_them(slots, tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def watched(fd):
        synced.append(os.fstat(fd).st_ino)
        fsync(fd)

    part = tmp_path / "part"
    part.write_bytes(MODELS[0])
    monkeypatch.setattr(os, "fsync", watched)
    slot = slots.stage(DIGESTS[0], part, descriptor=b"{}")
    assert slot.path.stat().st_ino in synced
