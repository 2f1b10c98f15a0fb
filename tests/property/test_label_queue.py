"""Whatever devices nominate and people say: the queue hands out exactly the chosen samples, never more than asked."""

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.learning.labels import Given, LabelSource
from edgeops.learning.retraining import OPEN, RetrainingState
from fleet_server.db import label_queue, labels, samples
from fleet_server.db.events import EventKind
from fleet_server.db.label_queue import ItemState
from fleet_server.labelling import take_labels
from tests.unit.retraining_rig import Loop

ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("label"),
            st.lists(
                st.tuples(st.integers(0, 40), st.sampled_from(["red", "green", "blue", "pink"])), min_size=1, max_size=6
            ),
            st.sampled_from(["ann", "bob", "eve"]),
        ),
        st.tuples(st.just("wait"), st.integers(1, 90), st.none()),
        st.tuples(st.just("cancel"), st.none(), st.none()),
        st.tuples(st.just("restart"), st.none(), st.none()),
        st.tuples(st.just("judge"), st.none(), st.none()),
    ),
    max_size=12,
)


class World:
    """A loop in LABELLING, and every word that was said."""

    def __init__(self, folder: Path, *, wanted: int, nominated: list[int]) -> None:
        policy = {"mode": "auto", "labels": wanted, "min_labels": 2, "cooldown": 0, "label_timeout": 3600}
        self.loop = Loop(folder, size=len(nominated), policy=policy)
        self.loop.judge()
        for device_id, count in zip(self.loop.ids, nominated, strict=True):
            self.loop.nominate(device_id, count=count)
        self.first = self.loop.all()[0]
        with self.loop.database.read_telemetry() as connection:
            self.known = [one.id for one in samples.page(connection, [self.first.digest], limit=1_000)]
        self.chosen = self.rows()
        self.wanted = wanted
        #: Sample -> author -> the newest label that fits.
        self.said: dict[str, dict[str, str]] = {}

    def rows(self) -> frozenset[str]:
        with self.loop.database.read() as connection:
            every = [label_queue.page(connection, "gas", state=state, limit=1_000) for state in ItemState]
        return frozenset(one.sample_id for items in every for one in items if one.asker == self.first.id)

    def act(self, kind: str, what: object, who: str | None) -> None:
        match kind:
            case "label":
                self.label(
                    [(self.known[n] if n < len(self.known) else f"unknown-{n}", label) for n, label in what], who
                )
            case "wait":
                self.loop.later(timedelta(minutes=what))
            case "cancel":
                last = self.loop.last()
                if last.state in OPEN - {RetrainingState.ROLLING_OUT}:
                    self.loop.cancel(last.id)
            case "restart":
                self.loop.restart()
                self.loop.run()
            case "judge":
                self.loop.judge()

    def label(self, words: list[tuple[str, str]], author: str) -> None:
        given = [Given(sample, label) for sample, label in words]
        now = self.loop.now = self.loop.now + timedelta(milliseconds=1)
        taken = take_labels(self.loop.database, given, source=LabelSource.PERSON, author=author, now=now)
        by_sample = {sample: {label for one, label in words if one == sample} for sample, _ in words}
        clear = {sample: next(iter(told)) for sample, told in by_sample.items() if len(told) == 1}
        good = {sample: label for sample, label in clear.items() if sample in self.known and label != "pink"}
        # Nothing is lost: each sample is accepted, unknown, or refused with a reason.
        assert taken.accepted == len(good)
        assert set(taken.unknown) == {sample for sample in clear if sample not in self.known}
        assert {one.sample_id for one in taken.refused} == by_sample.keys() - good.keys() - set(taken.unknown)
        assert all(one.reason for one in taken.refused)
        for sample, label in good.items():
            self.said.setdefault(sample, {})[author] = label
        assert set(taken.disputed) == {sample for sample in good if self.majority(sample) is None}
        self.loop.run()

    def majority(self, sample: str) -> str | None:
        words = list(self.said[sample].values())
        return next((one for one in set(words) if 2 * words.count(one) > len(words)), None)

    def check(self) -> None:
        assert self.rows() == self.chosen
        with self.loop.database.read() as connection:
            kept = labels.page(connection, "gas", limit=1_000)
            learnt = labels.for_training(connection, "gas")
        assert {one.sample_id for one in kept} == set(self.said)
        agreed = {sample: self.majority(sample) for sample in self.said}
        assert {one.sample_id: one.label for one in learnt} == {s: label for s, label in agreed.items() if label}
        for item in self.loop.queue():
            assert item.sample_id not in self.said
            assert self.loop.all()[0].state is RetrainingState.LABELLING or item.asker != self.first.id


@settings(max_examples=20, deadline=None)
@given(
    wanted=st.integers(1, 8),
    nominated=st.lists(st.integers(0, 8), min_size=1, max_size=4).filter(any),
    actions=ACTIONS,
)
def test_the_queue_hands_out_exactly_what_was_chosen(wanted, nominated, actions):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), wanted=wanted, nominated=nominated)
        assert 1 <= len(world.chosen) <= wanted
        assert world.chosen <= set(world.known)
        for action in actions:
            world.act(*action)
            world.check()
        requested = [one.data["labels"] for one in world.loop.events(EventKind.LABELS_REQUESTED)]
        assert requested[0] == len(world.chosen)
        assert all(count <= wanted for count in requested)
        world.loop.close()
