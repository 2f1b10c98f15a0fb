"""Judges drift: thin first version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import (
    ChannelFinding,
    Fault,
    Finding,
    FleetFinding,
    Kind,
    QualityIssue,
    Verdict,
)
from edgeops.drift.statistics import effective_rows, holm, ks_distance, ks_p_value
from edgeops.sketch.reference import ReferenceProfile, autocorrelation
from edgeops.sketch.window import Sketch, merge_all

__all__ = [
    "ChannelFinding",
    "DriftPolicy",
    "Fault",
    "Finding",
    "FleetFinding",
    "Kind",
    "QualityIssue",
    "Verdict",
    "judge",
    "judge_fleet",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """When a difference counts."""

    #: Of one judged window, over all channels (Holm); two of the last three must reach it ...
    alpha: float = 0.05
    #: ... or one merged window this.
    merged_alpha: float = 0.001
    #: The least D that matters.
    floor: float = 0.08
    #: The least a judged window holds.
    min_rows: int = 50
    min_effective_rows: float = 20.0
    #: Windows that may merge, and how far back a judgement looks; callers hand over at most this many.
    horizon_windows: int = 48


def judge(
    reference: ReferenceProfile, windows: Sequence[Sketch], policy: DriftPolicy, *, channels: Sequence[Channel]
) -> Finding:
    """Judge one stream."""
    whole = merge_all(windows[-policy.horizon_windows :], channels=len(reference.channels))
    summary = reference.summary()
    lag = np.maximum(autocorrelation(whole), autocorrelation(summary) if reference.ordered else 0)
    n = effective_rows(whole.present.astype(np.float64), lag)
    distance = ks_distance(whole.counts, summary.counts)
    p = holm(ks_p_value(distance, n, effective_rows(summary.present.astype(np.float64), lag)))
    drifted = (p <= policy.merged_alpha) & (distance >= policy.floor)
    enough = whole.rows >= policy.min_rows
    verdict = Verdict.NOT_ENOUGH_EVIDENCE if not enough else Verdict.DRIFT if drifted.any() else Verdict.STABLE
    kinds = [
        Kind.PREDICTION
        if c.kind in (ChannelKind.ANSWER, ChannelKind.CONFIDENCE, ChannelKind.MARGIN, ChannelKind.PROJECTION)
        else Kind.DATA
        for c in channels
    ]
    found = tuple(
        ChannelFinding(
            name=channel.name,
            kind=kinds[i],
            distance=float(distance[i]),
            p_value=float(p[i]),
            effective_rows=float(n[i]),
            floor=policy.floor,
            drifted=bool(drifted[i]),
            reference_histogram=tuple(summary.counts[i].tolist()),
            window_histogram=tuple(whole.counts[i].tolist()),
        )
        for i, channel in enumerate(reference.channels)
    )
    return Finding(
        verdict=verdict,
        kinds=tuple(sorted({c.kind for c in found if c.drifted})) if verdict is Verdict.DRIFT else (),
        reason=f"{verdict}",
        channels=found,
        class_mix_only=False,
        rows=whole.rows,
        windows=len(windows),
        rows_needed=None if enough else policy.min_rows - whole.rows,
        estimated_accuracy=None,
        quality=(),
    )


def judge_fleet(
    reference: ReferenceProfile,
    per_device: Mapping[str, Sequence[Sketch]],
    policy: DriftPolicy,
    *,
    channels: Sequence[Channel],
) -> FleetFinding:
    """Judge a group: windows of each device oldest first, aligned at the newest."""
    everything = [window for windows in per_device.values() for window in windows]
    return FleetFinding(
        fleet=judge(reference, everything, policy, channels=channels),
        local={device: judge(reference, windows, policy, channels=channels) for device, windows in per_device.items()},
    )
