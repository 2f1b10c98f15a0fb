"""Summaries of sketches in the units of their channels, which only the artifact knows."""

from collections.abc import Callable

from edgeops.api.shapes import ChannelSummary, FieldProblem, Page, TelemetryHour, TelemetryWindow, shape_of
from edgeops.artifact.manifest import ChannelKind
from edgeops.errors import MessageError
from edgeops.sketch.alarms import alarms_in
from edgeops.sketch.packing import unpack
from edgeops.sketch.summary import summarize
from fleet_server.api.problems import FieldError
from fleet_server.artifacts import Artifacts


def summaries(digest: str, sketch: bytes, artifacts: Artifacts) -> tuple[ChannelSummary, ...]:
    """One per channel; none when the model watches no channels, or this server does not hold the artifact."""
    artifact = artifacts.get(digest) if sketch else None
    if artifact is None or artifact.reference is None:
        return ()
    try:
        found = summarize(unpack(sketch), artifact.reference)
    except MessageError:
        # It came before its artifact was known here, with other channels; it must not hide the others.
        return ()
    return tuple(shape_of(ChannelSummary, one) for one in found)


def alarms(digest: str, sketch: bytes, artifacts: Artifacts) -> int | None:
    """How many scores were alarms; None where the artifact raises none, or this server does not hold it."""
    artifact = artifacts.get(digest) if sketch else None
    if artifact is None or artifact.reference is None or artifact.manifest.output.threshold is None:
        return None
    kinds = [one.kind for one in artifact.manifest.channels]
    if ChannelKind.ANSWER not in kinds:
        return None
    threshold = artifact.manifest.output.threshold
    try:
        return alarms_in(unpack(sketch), artifact.reference, kinds.index(ChannelKind.ANSWER), threshold)
    except (MessageError, IndexError):
        # As for summaries.
        return None


def alarm_time_ms(duration_ms: int, rows: int, alarms: int | None) -> int | None:
    """The share of the time that alarms are of the answers."""
    return None if alarms is None else round(duration_ms * alarms / max(rows, 1))


def chosen(
    page: Page[TelemetryWindow] | Page[TelemetryHour], channel: str | None
) -> Page[TelemetryWindow] | Page[TelemetryHour]:
    """The same page with one channel of each item, or with all of them and no histograms.

    Raises:
        FieldError: the items have channels, but not this one.
    """
    if channel is None:
        return _changed(page, lambda channels: tuple(one.model_copy(update={"histogram": None}) for one in channels))
    names = {one.name for item in page.items for one in item.channels}
    if names and channel not in names:
        detail = f"no channel {channel[:80]!r} in these windows; they have {', '.join(sorted(names))}"
        raise FieldError(FieldProblem(pointer="channel", detail=detail))
    return _changed(page, lambda channels: tuple(one for one in channels if one.name == channel))


def _changed(
    page: Page[TelemetryWindow] | Page[TelemetryHour],
    change: Callable[[tuple[ChannelSummary, ...]], tuple[ChannelSummary, ...]],
) -> Page[TelemetryWindow] | Page[TelemetryHour]:
    items = tuple(item.model_copy(update={"channels": change(item.channels)}) for item in page.items)
    return page.model_copy(update={"items": items})
