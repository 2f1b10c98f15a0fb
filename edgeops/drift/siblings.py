"""Holds devices against their siblings: what the fleet shows together is no device's own fault."""

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.evidence import Evidence
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.statistics import holm, ks_distance, ks_p_value

Flags = NDArray[np.bool_]

_PAIR = 2


def do_some_stand_out(devices: Evidence, policy: DriftPolicy) -> bool:
    """Whether some of a group's devices moved by themselves, as far as a merged window must, and others did not."""
    moved = devices.exists & (devices.distance >= devices.floor) & (devices.p_value <= policy.merged_alpha)
    number = int(moved.any(axis=(0, 2)).sum())
    return 0 < number < int(devices.exists.any(axis=(0, 2)).sum())


def differ_from_siblings(devices: Evidence, fleet: Evidence, policy: DriftPolicy) -> Flags:
    """Which channels of which devices (devices, channels) moved away from reference and siblings alike.

    Siblings are the group's view, in which a device has one voice of several; of two devices, the other one. Only
    what moved away from the reference is tested, at the level of one merged window.
    """
    number = devices.drifted.shape[0]
    if number == 1:
        return np.zeros_like(devices.drifted)
    newest = 0
    own, n = devices.seen.cumulative[newest], devices.seen.effective[newest]
    if number == _PAIR:
        theirs, m, known = own[::-1], n[::-1], devices.exists[newest][::-1]
    else:
        theirs, m = fleet.seen.cumulative[newest], fleet.seen.effective[newest]
        known = fleet.exists[newest]
    tested = devices.drifted & devices.exists[newest] & known
    distance = ks_distance(own, theirs)
    p_values = ks_p_value(distance, n, m)
    corrected = np.ones(tested.shape)
    corrected[tested] = holm(p_values[tested])
    is_material = distance >= devices.floor[newest]
    return np.asarray(tested & is_material & (corrected <= policy.merged_alpha))
