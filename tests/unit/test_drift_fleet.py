"""A group and each of its devices in one judgement, with windows made by hand: who is held against whom."""

import numpy as np
import pytest

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import Verdict
from edgeops.drift.siblings import do_some_stand_out
from edgeops.drift.verdict import judge, judge_fleet
from edgeops.errors import ArtifactError
from edgeops.sketch.learnt import build_reference
from tests.unit import drift_values as made

CHANNELS = [Channel(name="heat", kind=ChannelKind.COLUMN)]
POLICY = made.POLICY


@pytest.fixture(scope="module")
def reference():
    """A hundred rows in each bin, in no order."""
    return build_reference(np.arange(3_200, dtype=np.float32)[:, np.newaxis], ["heat"], discrete=())


def fleet(reference, *devices):
    """Judged, of the histograms of each device's windows."""
    named = {f"device-{place:03}": [made.window(one) for one in windows] for place, windows in enumerate(devices)}
    return judge_fleet(reference, named, POLICY, channels=CHANNELS)


EVEN, FAR = made.dealt(96), made.dealt(96, range(8))


def test_one_window_of_one_device_makes_no_drift_and_one_round_of_three_does(reference):
    alone = judge(reference, [made.window(FAR)], POLICY, channels=CHANNELS)
    assert alone.verdict is not Verdict.DRIFT
    assert fleet(reference, [FAR], [FAR], [FAR]).fleet.verdict is Verdict.DRIFT


def test_rows_of_two_devices_count_together_for_the_fleet_and_apart_for_each(reference):
    found = fleet(reference, [made.dealt(32)], [made.dealt(32)])
    assert found.fleet.verdict is Verdict.STABLE
    assert found.fleet.reason == "Nothing that matters has moved on 1 channels over 64 rows."
    assert {one.verdict for one in found.local.values()} == {Verdict.NOT_ENOUGH_EVIDENCE}
    assert {one.rows_needed for one in found.local.values()} == {18}


def test_the_fleet_and_its_devices_are_told_in_words_of_their_own(reference):
    found = fleet(reference, [EVEN, EVEN], [EVEN, EVEN])
    assert found.fleet.reason == "Nothing that matters has moved on 1 channels over 384 rows."
    assert found.local["device-000"].reason == "This device sees what its siblings see on 1 channels over 192 rows."


def test_of_many_devices_one_is_not_found_for_what_chance_shows_on_one_of_them(reference):
    """In two windows one shows what chance shows on one device in some 3,000 cases; all its windows together are even."""
    even, middle, ends = made.dealt(128), range(8, 24), [*range(8), *range(24, 32)]
    windows = [even, made.dealt(32) + made.dealt(96, ends), made.dealt(32) + made.dealt(96, middle)]
    few, many = fleet(reference, windows, *[[even] * 3] * 19), fleet(reference, windows, *[[even] * 3] * 99)
    assert few.local["device-000"].verdict is Verdict.DRIFT
    assert many.local["device-000"].verdict is Verdict.STABLE
    assert few.fleet.verdict is many.fleet.verdict is Verdict.STABLE


def test_channels_of_another_model_are_an_error(reference):
    with pytest.raises(ArtifactError, match="not those of the reference"):
        judge(reference, [], POLICY, channels=[Channel(name="cold", kind=ChannelKind.COLUMN)])


# -- whether some devices stand out ----------------------------------------------------------------------


def stand_out(*moved, heard=None, channel=1, span=3):
    """Whether some do, of devices that moved clearly on one of two channels in one of eight spans."""
    number = len(moved)
    distance, p_value = made.full(0.0, number, 2), made.full(1.0, number, 2)
    exists = np.broadcast_to(np.array(heard or [True] * number)[:, np.newaxis], distance.shape).copy()
    distance[span, :, channel] = [0.5 * one for one in moved]
    p_value[span, :, channel] = [POLICY.merged_alpha if one else 1.0 for one in moved]
    exists[0, :, 0] = False
    return do_some_stand_out(
        made.evidence(streams=number, of_channels=2, exists=exists, distance=distance, p_value=p_value), POLICY
    )


def test_some_stand_out_where_one_moved_and_another_did_not():
    assert stand_out(True, False, False)
    assert stand_out(True, True, False)
    assert not stand_out(False, False, False)
    assert not stand_out(True, True, True)
    assert not stand_out(True, True, False, heard=[True, True, False]), "the third was not heard"
    assert not stand_out(True, False, False, heard=[False, True, True]), "nor was what moved"


def test_who_moved_by_less_than_matters_or_than_is_sure_does_not_stand_out():
    exists = made.full(value=True, streams=2)
    far, sure = made.full(0.0, 2), made.full(1.0, 2)
    far[2, 0], sure[2, 0] = POLICY.floor, POLICY.merged_alpha * 1.01
    assert not do_some_stand_out(made.evidence(streams=2, exists=exists, distance=far, p_value=sure), POLICY)
    sure[2, 0] = POLICY.merged_alpha
    assert do_some_stand_out(made.evidence(streams=2, exists=exists, distance=far, p_value=sure), POLICY)
    far[2, 0] = POLICY.floor * 0.99
    assert not do_some_stand_out(made.evidence(streams=2, exists=exists, distance=far, p_value=sure), POLICY)
