"""A request for samples is answered once, within the day's bytes, in records that the spool takes."""

import numpy as np
import pytest

from device_agent.nomination import Nominations
from device_agent.pool import Entry, Pooled
from device_agent.store.spool import Spool
from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.errors import PlatformError
from edgeops.protocol.messages import Nominate, Samples, decode
from edgeops.protocol.topics import UpKind

DIGEST = digest_bytes(b"model")
DAY_S = 86_400.0


def request(count=10, **changes) -> Nominate:
    return Nominate(**{"deployment": "gas", "digest": DIGEST, "count": count, "random_share": 0.2, "seed": 3} | changes)


def pool(count=200, *, columns=4, rows=1, embedding: int | None = 8) -> Pooled:
    random = np.random.default_rng(5)
    entries = [Entry(f"row-{at}", 1.0, 0.9, float(random.random()), at * 1_000_000) for at in range(count)]
    windows = random.normal(size=(count, rows, columns)).astype(np.float32)
    embeddings = None if embedding is None else random.normal(size=(count, embedding)).astype(np.float32)
    return Pooled(count * 1_000_000, entries, windows, embeddings)


class Device:
    def __init__(self, folder) -> None:
        self._path = folder / "spool.db"
        self.now_s = 10 * DAY_S + 5
        self.start()

    def start(self) -> None:
        self.spool = Spool.open(self._path)
        self.nominations = Nominations(self.spool, wall=lambda: self.now_s)

    def restart(self) -> None:
        self.spool.close()
        self.start()

    def answers(self) -> list[Samples]:
        """What would leave now, in order."""
        self.spool.lost_contact()
        batches = self.spool.take(1000)
        assert {batch.kind for batch in batches} <= {UpKind.SAMPLES}
        records = sorted((record for batch in batches for record in batch.body.records), key=lambda one: one.seq)
        assert all(len(record.data) <= limits.MAX_RECORD_BYTES for record in records)
        return [decode(record.data, Samples) for record in records]


def with_disagreements(pooled: Pooled, *disagreeing: int) -> Pooled:
    entries = [
        entry._replace(shadow_answer=2.0, disagrees=at in disagreeing) if at % 2 else entry
        for at, entry in enumerate(pooled.entries)
    ]
    return Pooled(pooled.now_ns, entries, pooled.windows, pooled.embeddings)


@pytest.fixture
def device(tmp_path):
    device = Device(tmp_path)
    yield device
    device.spool.close()


def test_an_answer_holds_what_was_asked_for_and_stands_for_the_whole_pool(device):
    pooled = pool(300)
    device.nominations.answer("nom-1", request(40), pooled)
    (answer,) = device.answers()
    assert (answer.deployment, answer.nomination, answer.pool, answer.last, answer.part) == (
        "gas",
        "nom-1",
        300,
        True,
        0,
    )
    assert answer.detail == ""
    assert len(answer.samples) == 40
    assert sum(sample.weight for sample in answer.samples) == 300
    assert sum(sample.by_chance for sample in answer.samples) == 8
    at = [entry.input_id for entry in pooled.entries].index(answer.samples[20].input_id)
    sample = answer.samples[20]
    assert np.array_equal(np.frombuffer(sample.values, "<f4"), pooled.windows[at].reshape(-1))
    assert sample.age_ms == 300 - at


def test_the_same_seed_nominates_the_same_inputs(device):
    device.nominations.answer("nom-1", request(), pool())
    device.nominations.answer("nom-2", request(), pool())
    first, second = device.answers()
    assert first.samples == second.samples


def test_readings_stand_in_for_a_missing_embedding_also_with_gaps(device):
    pooled = pool(100, embedding=None)
    pooled.windows[::3, 0, 1] = np.nan
    pooled.windows[:, 0, 2] = 7.0
    device.nominations.answer("nom-1", request(30), pooled)
    (answer,) = device.answers()
    assert len(answer.samples) == 30


def test_an_infinite_reading_travels_as_missing(device):
    pooled = pool(10)
    pooled.windows[:, 0, 1] = np.inf
    device.nominations.answer("nom-1", request(), pooled)
    (answer,) = device.answers()
    values = np.array([np.frombuffer(sample.values, "<f4") for sample in answer.samples])
    assert np.isnan(values[:, 1]).all()
    assert np.isfinite(values[:, [0, 2, 3]]).all()


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (16, 16), (32, 96)])
def test_records_are_cut_to_what_the_spool_takes(device, rows, columns):
    pooled = pool(30, rows=rows, columns=columns, embedding=256)
    device.nominations.answer("nom-1", request(30), pooled)
    answers = device.answers()
    assert [answer.part for answer in answers] == list(range(len(answers)))
    assert [answer.last for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert sum(len(answer.samples) for answer in answers) == 30


def test_a_command_is_answered_once_also_after_a_restart_and_when_the_answer_was_acknowledged(device):
    device.nominations.answer("nom-1", request(), pool())
    device.nominations.answer("nom-1", request(), pool())
    assert len(device.answers()) == 1
    device.restart()
    assert device.nominations.are_answered("nom-1")
    device.nominations.answer("nom-1", request(), pool())
    assert len(device.answers()) == 1
    device.spool._delete([0])
    device.nominations.answer("nom-1", request(), pool())
    assert device.answers() == []


def test_nothing_to_nominate_is_an_answer_with_its_reason(device):
    device.nominations.answer("nom-1", request(), Pooled.nothing("the owner of the device forbids samples"))
    (answer,) = device.answers()
    assert (answer.pool, answer.samples, answer.last) == (0, (), True)
    assert answer.detail == "the owner of the device forbids samples"
    assert device.nominations.counters["samples.declined"] == 1


def test_the_days_bytes_make_a_nomination_smaller_before_it_is_chosen(device, monkeypatch):
    cost = 4 * 4 + len("row-199") + 64
    monkeypatch.setattr(limits, "SAMPLE_BYTES_PER_DAY", 12 * cost + 1)
    device.nominations.answer("nom-1", request(10), pool())
    device.nominations.answer("nom-2", request(10), pool())
    device.restart()
    device.nominations.answer("nom-3", request(10), pool())
    first, second, third = device.answers()
    assert [len(answer.samples) for answer in (first, second, third)] == [10, 2, 0]
    assert sum(sample.weight for sample in second.samples) == 200
    assert "2 of 10 inputs fit" in second.detail
    assert "midnight" in third.detail
    assert device.nominations.counters["samples.over-budget"] == 10
    device.now_s += DAY_S
    device.nominations.answer("nom-4", request(10), pool())
    assert len(device.answers()[-1].samples) == 10


def test_each_deployment_has_a_day_of_its_own(device, monkeypatch):
    monkeypatch.setattr(limits, "SAMPLE_BYTES_PER_DAY", 200)
    device.nominations.answer("nom-1", request(10), pool())
    device.nominations.answer("nom-2", request(10, deployment="water"), pool())
    assert [len(answer.samples) for answer in device.answers()] == [2, 2]


def test_no_more_than_a_sample_may_take_is_spent(device):
    for number in range(40):
        device.nominations.answer(f"nom-{number}", request(30), pool(64, rows=16, columns=16, embedding=64))
    taken = sum(len(s.values) for answer in device.answers() for s in answer.samples)
    assert 0.9 * limits.SAMPLE_BYTES_PER_DAY < taken <= limits.SAMPLE_BYTES_PER_DAY


def test_near_duplicates_are_not_nominated_and_that_is_said(device):
    pooled = pool(50)
    pooled.embeddings[10:] = pooled.embeddings[9]
    device.nominations.answer("nom-1", request(30, random_share=0.0), pooled)
    (answer,) = device.answers()
    assert len(answer.samples) == 10
    assert "10 of 30" in answer.detail


def test_a_spool_that_takes_nothing_leaves_the_command_open(device):
    device.spool._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(PlatformError):
        device.nominations.answer("nom-1", request(), pool())
    assert not device.nominations.are_answered("nom-1")
    device.spool._connection.execute("PRAGMA query_only = OFF")
    device.nominations.answer("nom-1", request(), pool())
    assert len(device.answers()) == 1


def test_disagreements_are_nominated_first_where_they_are_asked_for(device):
    pooled = with_disagreements(pool(200), 3, 77, 151)
    device.nominations.answer("nom-1", request(10, disagreements=True), pooled)
    device.nominations.answer("nom-2", request(10), pooled)
    asked, not_asked = device.answers()
    assert {sample.input_id for sample in asked.samples[:3]} == {"row-3", "row-77", "row-151"}
    assert all(not sample.by_chance for sample in asked.samples[:3])
    assert not {"row-3", "row-77", "row-151"} <= {sample.input_id for sample in not_asked.samples}
    for sample in (*asked.samples, *not_asked.samples):
        odd = int(sample.input_id.removeprefix("row-")) % 2
        assert sample.shadow_answer == (2.0 if odd else None)


def test_disagreements_count_against_the_bytes_of_the_day_like_all_others(device):
    pooled = with_disagreements(pool(200, columns=2500), *range(1, 200, 2))
    device.nominations.answer("nom-1", request(100, disagreements=True), pooled)
    samples = [sample for answer in device.answers() for sample in answer.samples]
    assert len(samples) == limits.SAMPLE_BYTES_PER_DAY // (4 * 2500 + len("row-199") + 64)
