"""Judges whether windows still look like the reference: one stream, or a group and each device in it.

A judgement looks at what callers hand over and keeps no state. The group is seen as `edgeops.drift.views` sees it, so
that no single device decides; a device is held against the reference and against its siblings. Which windows are held
against the reference, and when a difference counts, is in `edgeops.drift.evidence`. What follows from a finding is not
decided here.

Projections of the embedding count as predictions: they are the model's, and change with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift import words
from edgeops.drift.baseline import Baseline, baseline_of
from edgeops.drift.evidence import (
    Evidence,
    Seen,
    Spans,
    counts_in,
    find_spans,
    seen_alone,
    seen_together,
    weigh,
    worth_alone,
    worth_together,
)
from edgeops.drift.finding import ChannelFinding, Finding, FleetFinding, Kind, QualityIssue, Verdict
from edgeops.drift.history import NEVER, History
from edgeops.drift.mix import is_class_mix_only
from edgeops.drift.performance import Estimate, estimate
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.quality import Faults, find_faults, issues
from edgeops.drift.siblings import differ_from_siblings
from edgeops.errors import ArtifactError
from edgeops.sketch.reference import ReferenceProfile
from edgeops.sketch.window import Sketch

__all__ = ["DriftPolicy", "judge", "judge_fleet"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_OF_THE_MODEL = (ChannelKind.ANSWER, ChannelKind.CONFIDENCE, ChannelKind.MARGIN, ChannelKind.PROJECTION)


def judge(
    reference: ReferenceProfile, windows: Sequence[Sketch], policy: DriftPolicy, *, channels: Sequence[Channel]
) -> Finding:
    """Judge one stream, a device or anything else that came from one source.

    Args:
        reference: of the model that ran.
        windows: oldest first; at most the last `policy.horizon_windows` are looked at.
        policy: when a difference counts.
        channels: of the model's manifest.

    Raises:
        ArtifactError: reference and manifest have other channels.
        MessageError: a window has other channels than the reference.
    """
    return judge_fleet(reference, {"": windows}, policy, channels=channels).fleet


def judge_fleet(
    reference: ReferenceProfile,
    per_device: Mapping[str, Sequence[Sketch]],
    policy: DriftPolicy,
    *,
    channels: Sequence[Channel],
) -> FleetFinding:
    """Judge a group of devices, and each device against its siblings.

    Args:
        reference: of the model that they ran.
        per_device: windows of each device, oldest first; the last ones of all devices belong together, and so on.
        policy: when a difference counts.
        channels: of the model's manifest.

    Raises:
        ArtifactError: reference and manifest have other channels.
        MessageError: a window has other channels than the reference.
    """
    if tuple(channel.name for channel in channels) != reference.names:
        raise ArtifactError("the manifest's channels are not those of the reference; use the two of one artifact")
    devices = sorted(per_device)
    history = History([per_device[device] for device in devices], channels=len(channels), most=policy.horizon_windows)
    if not history.length:
        nothing = _nothing()
        return FleetFinding(fleet=nothing, local=dict.fromkeys(devices, nothing))
    return _Judgement(reference, history, policy, channels).fleet_finding(devices)
