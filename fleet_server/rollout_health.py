"""The health of what a rollout brought: reads what devices have shown and has it judged.

The engine asks from the first commit of a wave on, again and again until the answer is not `Undecided` or waiting
ends; it acts on the answer and asks nothing else. The sums are those that `fleet_server.evidence_gathering` has stored,
so an answer costs the same in any fleet. It judges nothing: `edgeops.rollout.health` does.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from edgeops.artifact.manifest import Manifest, Task
from edgeops.protocol.messages import Presence
from edgeops.rollout.agreement import USUAL_ERROR
from edgeops.rollout.health.sums import plus
from edgeops.rollout.health.verdict import health_verdict
from edgeops.rollout.health.wave import Labels, Part, Shown, Stated, WaveHealth, shown_by, without_device
from edgeops.rollout.shadowing import owed_since
from edgeops.rollout.verdict import Health, Healthy, Undecided, Unhealthy
from fleet_server.db import devices, disagreements, evidence, installations, models
from fleet_server.db.database import Connection
from fleet_server.db.evidence import Distrusted, Shows, WaveShows
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout, Wave
from fleet_server.service_clock import service_time

#: Of an evaluation of a model, in `Manifest.metrics`.
_ACCURACY = "accuracy"


def health_of(connection: Connection, rollout: Rollout, wave: Wave, now: datetime) -> Health:
    """Whether the devices of a wave are as well as before; `now` is the clock of this machine."""
    distrusted = evidence.of_quarantined(connection, rollout.id, wave.position)
    shows = _with_unheard(connection, wave, distrusted)
    removed = installations.removed_in(connection, rollout.id, wave.position)
    is_left = wave.committed > distrusted.committed + removed
    silent = installations.silent_in(connection, rollout.id, wave.position)
    # As many may fall silent as may fail: in a large wave somebody always loses power.
    tolerated = int(rollout.policy.max_failure * wave.offered)
    labels = labels_of(connection, rollout.id, wave=wave.position)
    return _judged(
        connection,
        rollout,
        shows,
        labels,
        silent=silent if silent > tolerated else 0,
        quiet=_quiet_in(connection, rollout, wave.position, baking_since=wave.bakes_since, now=now),
        distrusted=distrusted.committed,
        removed=0 if is_left else removed,
    )


def health_of_one(connection: Connection, rollout: Rollout, installation: Installation, now: datetime) -> Health:
    """The same for a device that committed alone: one that came late, or joined a rollout that is live."""
    device = devices.get(connection, installation.device_id)
    assert device is not None, "an installation is on a device"
    shows = Shows() if device.quarantined else evidence.shows_of(installation.health)
    incumbents = {} if shows.incumbent is None else {shows.incumbent: 1}
    # For one device nobody labels: what people said of the waves before it is all that there is.
    labels = msgspec.structs.replace(labels_of(connection, rollout.id), of_others=True)
    since, own = installation.asked_at, installation.id
    quiet = _quiet_in(connection, rollout, installation.wave, baking_since=since, now=now, only=own)
    shown = WaveShows(canary=shown_by(shows.health), incumbents=incumbents)
    silent = device.presence is not Presence.ONLINE
    distrusted = int(device.quarantined)
    return _judged(connection, rollout, shown, labels, silent=int(silent), quiet=quiet, distrusted=distrusted)


def _quiet_in(
    connection: Connection,
    rollout: Rollout,
    wave: int,
    *,
    baking_since: datetime | None,
    now: datetime,
    only: str | None = None,
) -> int:
    """How many devices, once their bake is over, show nothing of its end: no sum of the time before tells of that."""
    if baking_since is None or not rollout.policy.bake:
        return 0
    over_for = service_time(connection, now) - (baking_since + rollout.policy.bake)
    if over_for < timedelta(0):
        return 0
    before = owed_since(rollout.policy, now - over_for)
    return installations.quiet_in(connection, rollout.id, wave, before=before, only=only)


def _with_unheard(connection: Connection, wave: Wave, distrusted: Distrusted) -> WaveShows:
    """What a wave has shown, and who owes what.

    Devices that committed and of which no window came yet owe what the others sent; those that have not committed yet,
    as one that timed out after its trial, owe nothing. What `distrusted` devices showed is no evidence.
    """
    shows = evidence.wave_shows_of(wave.health)
    # While devices are asked, which may be many, nothing passes: what those in trial need not show yet is left in.
    in_trial = evidence.of_open_ones(connection, wave.rollout_id, wave.position) if wave.bakes_since else ()
    others = [shown_by(one) for one in in_trial]
    canary = shows.canary
    for one in distrusted.shown:
        canary = without_device(canary, one)
    missing = max(wave.committed - distrusted.committed - (canary.devices - len(others)), 0)
    unheard = Shown(
        devices=missing,
        heard=sum(one.devices - one.heard for one in others),
        shadowed=missing if shows.canary.shadowed else 0,
        beside=Part(devices=missing if shows.canary.shadowed else 0),
        paired=sum(one.shadowed - one.paired for one in others),
    )
    return msgspec.structs.replace(shows, canary=plus(canary, unheard))


def _judged(connection: Connection, rollout: Rollout, shows: WaveShows, labels: Labels, **absent: int) -> Health:
    """`absent`: devices of the wave that cannot show any more, by the field of `WaveHealth`."""
    health = WaveHealth(
        canary=shows.canary,
        control=shows.control,
        labels=labels,
        stated=_stated(connection, rollout, shows.incumbents),
        **absent,
    )
    model = models.get(connection, rollout.model)
    task = Task.CLASSIFICATION if model is None else Task(model.task)
    verdict = health_verdict(health, rollout.policy.health, task=task, intent=rollout.intent)
    return _with_sums(verdict, health)


def labels_of(connection: Connection, rollout_id: str, *, wave: int | None = None) -> Labels:
    """What people said of the disagreements that a rollout has sent for labelling, or one wave of it."""
    told = disagreements.told(connection, rollout_id, wave=wave)
    right = [_who(one) for one in told if one.label is not None]
    return Labels(
        new_right=right.count("new"),
        old_right=right.count("old"),
        neither=right.count(""),
        waiting=sum(one.waits for one in told),
    )


def _who(told: disagreements.Told) -> str:
    return "new" if told.label == told.new_answer else "old" if told.label == told.old_answer else ""


def _stated(connection: Connection, rollout: Rollout, incumbents: Mapping[str, int]) -> Stated:
    """What the manifests of the new model and of the one that most devices ran before say of themselves."""
    old = max(incumbents, key=lambda digest: (incumbents[digest], digest), default=None)
    new_metrics, old_metrics = (_metrics(connection, digest) for digest in (rollout.digest, old))
    return Stated(
        new_accuracy=new_metrics.get(_ACCURACY),
        old_accuracy=old_metrics.get(_ACCURACY),
        new_error=new_metrics.get(USUAL_ERROR),
        old_error=old_metrics.get(USUAL_ERROR),
    )


def _metrics(connection: Connection, digest: str | None) -> Mapping[str, float]:
    manifest = _manifest(connection, digest)
    return {} if manifest is None else manifest.metrics


def _manifest(connection: Connection, digest: str | None) -> Manifest | None:
    artifact = None if digest is None else models.artifact_by_digest(connection, digest)
    return None if artifact is None else artifact.describe().manifest


def _with_sums(verdict: Health, health: WaveHealth) -> Health:
    """And the sums that the findings stand on, so that the verdict can be judged again."""
    evidence_ = {**verdict.evidence, "sums": msgspec.to_builtins(health)}
    kind: type[Healthy | Undecided | Unhealthy] = type(verdict)
    return kind(verdict.words, evidence_)
