"""Judges whether windows still look like the reference: one stream, or a group and each device in it.

A judgement looks at what callers hand over and keeps no state. The group is seen as `edgeops.drift.views` sees it, so
that no single device decides; a device is held against the reference and against its siblings. Which windows are held
against the reference, and when a difference counts, is in `edgeops.drift.evidence`. What follows from a finding is not
decided here.

Projections of the embedding count as predictions: they are the model's, and change with it.
"""

from collections.abc import Mapping, Sequence

from edgeops.artifact.manifest import Channel
from edgeops.drift.conclusion import Stream, Watched, conclude
from edgeops.drift.evidence import (
    Evidence,
    Spans,
    counts_in,
    find_spans,
    seen_alone,
    seen_together,
    weigh,
    worth_alone,
    worth_together,
)
from edgeops.drift.finding import Finding, FleetFinding
from edgeops.drift.history import History
from edgeops.drift.performance import MeanError
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.quality import find_faults, issues
from edgeops.drift.siblings import differ_from_siblings, do_some_stand_out
from edgeops.errors import ArtifactError
from edgeops.sketch.reference import ReferenceProfile
from edgeops.sketch.window import Sketch

#: Of fewer devices none outvotes another.
_OUTVOTING = 3


def judge(
    reference: ReferenceProfile,
    windows: Sequence[Sketch],
    policy: DriftPolicy,
    *,
    channels: Sequence[Channel],
    mean_error: MeanError | None = None,
) -> Finding:
    """Judge one stream, a device or anything else that came from one source.

    Args:
        reference: of the model that ran.
        windows: oldest first; at most the last `policy.horizon_windows` are looked at.
        policy: when a difference counts.
        channels: of the model's manifest.
        mean_error: of the same manifest; None of what is no regression.

    Raises:
        ArtifactError: reference and manifest have other channels.
        MessageError: a window has other channels than the reference.
    """
    return judge_fleet(reference, {"": windows}, policy, channels=channels, mean_error=mean_error).fleet


def judge_fleet(
    reference: ReferenceProfile,
    per_device: Mapping[str, Sequence[Sketch]],
    policy: DriftPolicy,
    *,
    channels: Sequence[Channel],
    mean_error: MeanError | None = None,
) -> FleetFinding:
    """Judge a group of devices, and each device against its siblings.

    Args:
        reference: of the model that they ran.
        per_device: windows of each device, oldest first; the last ones of all devices belong together, and so on.
        policy: when a difference counts.
        channels: of the model's manifest.
        mean_error: of the same manifest; None of what is no regression.

    Raises:
        ArtifactError: reference and manifest have other channels.
        MessageError: a window has other channels than the reference.
    """
    if tuple(channel.name for channel in channels) != reference.names:
        raise ArtifactError("the manifest's channels are not those of the reference; use the two of one artifact")
    if not per_device:
        nothing = judge(reference, [], policy, channels=channels, mean_error=mean_error)
        return FleetFinding(fleet=nothing, local={})
    devices = sorted(per_device)
    history = History([per_device[device] for device in devices], channels=len(channels), most=policy.horizon_windows)
    watched = Watched(reference, channels, policy, mean_error=mean_error)
    spans, evidence = _each_alone(watched, history)
    group_spans, group_evidence = (spans, evidence) if len(devices) == 1 else _together(watched, history, evidence)
    apart = differ_from_siblings(evidence, group_evidence, policy)
    faults = find_faults(history, watched.baseline, policy, is_input=watched.is_input)
    rows, counts, windows = history.rows(), history.whole(), history.lengths()
    fleet = Stream(
        place=0,
        evidence=group_evidence,
        spans=group_spans,
        moved=group_evidence.drifted[0],
        worth=worth_together(history.sums(), watched.baseline),
        counts=counts.sum(axis=0),
        rows=int(rows.sum()),
        windows=history.length,
        issues=issues(faults, watched.baseline, range(len(devices))),
        is_local=False,
    )
    each = worth_alone(history.sums(), watched.baseline)
    local = {
        device: Stream(
            place=place,
            evidence=evidence,
            spans=spans,
            moved=apart[place],
            worth=each,
            counts=counts[place],
            rows=int(rows[place]),
            windows=int(windows[place]),
            issues=issues(faults, watched.baseline, [place]),
            is_local=True,
        )
        for place, device in enumerate(devices)
    }
    return FleetFinding(
        fleet=conclude(watched, fleet), local={device: conclude(watched, stream) for device, stream in local.items()}
    )


def _each_alone(watched: Watched, history: History) -> tuple[Spans, Evidence]:
    baseline, policy = watched.baseline, watched.policy
    spans = find_spans(
        history,
        baseline,
        policy,
        worth=lambda sums: worth_alone(sums, baseline),
        streams=history.streams,
        is_merged=False,
    )
    seen = seen_alone(spans, counts_in(spans, history), baseline)
    return spans, weigh(spans, seen, baseline, policy, together=True)


def _together(watched: Watched, history: History, each: Evidence) -> tuple[Spans, Evidence]:
    baseline, policy = watched.baseline, watched.policy
    spans = find_spans(
        history, baseline, policy, worth=lambda sums: worth_together(sums, baseline), streams=1, is_merged=True
    )
    seen = seen_together(spans, counts_in(spans, history), baseline, policy, outvotes=history.speaking >= _OUTVOTING)
    some = do_some_stand_out(each, policy)
    return spans, weigh(spans, seen, baseline, policy, together=False, do_some_stand_out=some)
