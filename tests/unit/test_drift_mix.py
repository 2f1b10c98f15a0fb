"""A changed mix of classes is told from a changed world: the packaged model of digits, and images as devices see them."""

from pathlib import Path

import numpy as np
import pytest

from edgeops.drift.finding import Kind, Verdict
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge_fleet
from edgeops.local.scenarios.digits import Digits
from edgeops.model.model import Model
from edgeops.sketch.window import Sketcher
from fleet_server import starter

SEED = 7
DEVICES = 3


class Camera:
    """What the packaged model sees in images, as three devices tell it in two windows each."""

    def __init__(self):
        self.model = Model.load(Path(starter.__file__).parent / starter.ARTIFACT)
        self.labels = self.model.manifest.output.labels

    def look(self, stage):
        """Channel values (n, channels), and the digits that were shown."""
        shown = [row.reshape(1, -1) for row in stage.rows.values]
        values = np.array([self.model.predict(row).channels for row in shown], np.float32)
        return values, np.array([self.labels.index(label) for label in stage.rows.labels])

    def judge(self, values, random):
        shown = np.array_split(values[random.permutation(len(values))], 2 * DEVICES)
        fleet = {f"device-{place}": [self.sketch(shown[place]), self.sketch(shown[-place - 1])] for place in range(3)}
        return judge_fleet(self.model.reference, fleet, DriftPolicy(), channels=self.model.manifest.channels).fleet

    def sketch(self, values):
        sketcher = Sketcher(self.model.reference)
        sketcher.add(np.ascontiguousarray(values))
        return sketcher.sketch()


@pytest.fixture(scope="module")
def camera():
    camera = Camera()
    yield camera
    camera.model.close()


@pytest.fixture(scope="module")
def clean(camera):
    return camera.look(Digits().control(SEED))


@pytest.fixture(scope="module")
def dirty(camera):
    return camera.look(next(Digits().stages(SEED)))


def mixes(seen, *, seeds, some=0.2, rows=250):
    """The same images with digits in other shares, each image once at most."""
    values, digits = seen
    for seed in seeds:
        random = np.random.default_rng(seed)
        wanted = np.rint(rows * random.dirichlet(np.full(10, some))).astype(int)
        own = [random.permutation(np.flatnonzero(digits == digit))[:count] for digit, count in enumerate(wanted)]
        yield values[np.concatenate(own)], random


def test_the_clean_lens_is_stable(camera, clean):
    assert camera.judge(clean[0], np.random.default_rng(0)).verdict is Verdict.STABLE


def test_half_of_the_digits_are_another_mix_and_nothing_else(camera, clean):
    values, digits = clean
    for few in (digits < 5, digits >= 5, digits % 2 == 0):
        found = camera.judge(values[few], np.random.default_rng(1))
        assert found.verdict is Verdict.DRIFT
        assert found.class_mix_only, found.reason
        assert found.kinds == (Kind.PREDICTION,)
        share = int(found.reason.split("another mix (")[1].split("%")[0])
        assert 35 <= share <= 65, "about half of the answers are of another class than they were"


def test_what_only_another_mix_moved_is_named_so_as_a_rule(camera, clean):
    found = [camera.judge(values, random) for values, random in mixes(clean, seeds=range(30))]
    drifted = [one for one in found if one.verdict is Verdict.DRIFT]
    named = [one for one in drifted if one.class_mix_only]
    print(f"{len(drifted)} of {len(found)} mixes were found, {len(named)} of them named")
    assert len(drifted) >= 15
    assert len(named) >= 0.85 * len(drifted)


def test_a_dirty_lens_is_no_class_mix_whatever_the_mix(camera, dirty):
    for values, random in (
        (dirty[0], np.random.default_rng(2)),
        *mixes(dirty, seeds=range(10)),
        *mixes(dirty, seeds=range(10, 15), rows=90),
    ):
        found = camera.judge(values, random)
        assert found.verdict is Verdict.DRIFT
        assert not found.class_mix_only
        assert Kind.DATA in found.kinds
