"""Gathers what a model is healed on, or judged by: labelled samples, nominated ones, and what devices saw, as sketches.

Devices that are left out are left out everywhere, and none counts for more than its share. What a label means, and
whether it counts, is decided in `edgeops.learning.labels`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter

import numpy as np

from edgeops.drift.rounds import DeviceWindow
from edgeops.drift.views import CAP, typical_rows
from edgeops.sketch.packing import pack
from edgeops.sketch.window import merge_all
from fleet_server.datasets.buying import Bought
from fleet_server.db import disagreements, labels, models, nominations, samples
from fleet_server.db.database import Database
from fleet_server.db.findings import Stream
from fleet_server.db.jobs import Retrain
from fleet_server.live_windows import LiveWindows
from fleet_server.ml.frames import Nominated
from fleet_server.monitoring import running_streams

#: What closed at a moment is not what closed after it.
_TICK = timedelta(microseconds=1)
#: Samples that stand for what devices see, where none was nominated for this retraining.
_SAMPLES = 1_000


def bought(database: Database, request: Retrain) -> list[Bought]:
    """Every sample of the model whose label counts now; without readings where those were dropped since."""
    return [one for one, _ in _labelled(database, request.model, without_devices=request.without_devices)]


def recent(database: Database, model: str, columns: Sequence[str]) -> list[Bought]:
    """The samples of the model that judge a new version of it: labelled by people, single rows of these columns."""
    labelled = _labelled(database, model)
    with database.read() as connection:
        fitting = {
            digest
            for digest in {digest for _, digest in labelled if digest is not None}
            if (artifact := models.artifact_by_digest(connection, digest)) is not None
            and (window := artifact.describe().manifest.window).columns == tuple(columns)
            and window.rows == 1
        }
    return [one for one, digest in labelled if one.may_judge and digest in fitting]


def nominated(database: Database, request: Retrain) -> list[Nominated]:
    """The samples that devices nominated for this retraining; else the newest that the drifted model answered."""
    with database.read() as connection:
        asked = [one.id for one in nominations.of_asker(connection, request.retraining)]
    with database.read_telemetry() as connection:
        found = samples.of_nominations(connection, asked)
        if not found:
            newest = samples.page(connection, [request.digest], limit=_SAMPLES)
            found = tuple(one for one in newest if one.deployment == request.deployment)
    kept = [one for one in found if one.device_id not in request.without_devices and one.weight > 0]
    rows: dict[str, float] = defaultdict(float)
    for one in kept:
        rows[one.device_id] += one.weight
    most = _most(rows)
    return [Nominated(one.readings, one.weight * min(1.0, most / rows[one.device_id])) for one in kept]


def inputs(
    database: Database, request: Retrain, stream: Stream, *, since: datetime, channels: int, now: datetime
) -> bytes:
    """The merged sketch of what the devices of a stream saw, packed; empty where they told nothing.

    Args:
        database: of windows.
        request: names the devices that are left out, and the moment from which windows count.
        stream: whose windows.
        since: when the model file was made; no window of it is older. What closed until `request.since` is the world
            before.
        channels: how many the model watches.
        now: the newest windows count up to then.
    """
    with database.read() as connection:
        members = running_streams(connection).get(stream, frozenset()) - set(request.without_devices)
    seen = LiveWindows(stream, since=max(since, (request.since or since) + _TICK), channels=channels)
    with database.read_telemetry() as connection:
        seen.catch_up(connection, members, now)
    merged = merge_all((window.sketch for window in _fair(seen.windows)), channels=channels)
    return pack(merged) if merged.rows else b""


def _labelled(
    database: Database, model: str, *, without_devices: Collection[str] = ()
) -> list[tuple[Bought, str | None]]:
    """Every sample whose label counts now, with the artifact that answered it; None = its readings were dropped."""
    with database.read() as connection:
        counting = labels.for_training(connection, model, without_devices=without_devices)
        chosen = disagreements.among(connection, model)
    with database.read_telemetry() as connection:
        kept = {one.id: one for one in samples.some(connection, [one.sample_id for one in counting])}
    found = list[tuple[Bought, str | None]]()
    for one in counting:
        sample = kept.get(one.sample_id)
        labelled = Bought(
            sample=one.sample_id,
            device=one.device_id,
            label=one.label,
            source=one.source,
            values=b"" if sample is None else sample.readings,
            disputed=one.sample_id in chosen,
        )
        found.append((labelled, None if sample is None else sample.digest))
    return found


def _fair(windows: Iterable[DeviceWindow]) -> list[DeviceWindow]:
    """The newest windows of each device, as long as they are within its cap; one of each in any case."""
    by_device: dict[str, list[DeviceWindow]] = defaultdict(list)
    for window in sorted(windows, key=attrgetter("closed_at"), reverse=True):
        by_device[window.device_id].append(window)
    most = _most({device: sum(one.sketch.rows for one in own) for device, own in by_device.items()})
    fair: list[DeviceWindow] = []
    for own in by_device.values():
        rows = 0
        for window in own:
            if rows and rows + window.sketch.rows > most:
                break
            rows += window.sketch.rows
            fair.append(window)
    return fair


def _most(rows: Mapping[str, float]) -> float:
    """Rows of one device that count, as `edgeops.drift.views` caps them."""
    present = np.array(list(rows.values()), dtype=np.float64)[:, np.newaxis]
    return CAP * float(typical_rows(present)[0]) if rows else 0.0
