"""Has people say who is right where the new and the old model of a wave disagree.

While a wave waits for that, its devices are asked for inputs on which both answered differently; what they name enters
the label queue as asked for by the rollout, and the labels count in the health gate (`fleet_server.rollout_health`). It
looks at what is true now and carries out what is missing, so it may be killed anywhere. How many are asked for is
decided in `edgeops.rollout.health.asking`; when nobody labels, the gate decides on what it has.
"""

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Command, Nominate, encode
from edgeops.protocol.topics import DownKind
from edgeops.rollout.agreement import disagreements as disagreements_in
from edgeops.rollout.health.asking import asked_of, wanted_labels
from edgeops.rollout.health.finding import Kind, Sign
from edgeops.rollout.verdict import Health, Undecided
from fleet_server.artifacts import Artifacts
from fleet_server.db import disagreements, evidence, label_queue, models, nominations, outbox, rollouts, samples
from fleet_server.db.database import Connection, Database, is_outage
from fleet_server.db.label_queue import Item
from fleet_server.db.nominations import Nomination
from fleet_server.db.rollouts import Rollout, Wave
from fleet_server.db.samples import Sample
from fleet_server.rollout_health import health_of

#: How often it looks.
_REST = timedelta(seconds=1)
#: Devices are asked again after this, if a wave still wants labels.
_AGAIN_AFTER = timedelta(seconds=10)
#: The same where one had none to name: it has not met any, or has sent what it may for today.
_AGAIN_AFTER_NONE = timedelta(minutes=10)
#: Of one wave so many devices are looked at.
_DEVICES = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanting:
    """A wave that wants labels."""

    rollout: Rollout
    wave: Wave
    #: Disagreements that were seen, by device, and what each device ran before.
    differing: Mapping[str, int]
    incumbents: Mapping[str, str]
    labels: int


class Disagreements:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts
        self._looks_at: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Ask for what is missing; how many samples entered the queue."""
        if self._looks_at is not None and self._looks_at - _REST <= now < self._looks_at:
            return 0
        self._looks_at = now + _REST
        with self._database.read() as connection:
            ids = [rollout.id for rollout in rollouts.showing(connection)]
            over = disagreements.askers_to_drop(connection)
        if over:
            with self._database.write() as connection:
                for rollout_id in over:
                    label_queue.drop(connection, rollout_id, now)
        return sum(self._turn(rollout_id, now) for rollout_id in ids)

    def _turn(self, rollout_id: str, now: datetime) -> int:
        try:
            with self._database.read() as connection:
                wanting = _wanting(connection, rollout_id, now)
            if wanting is None:
                return 0
            entered = self._choose(wanting, now)
            if entered < wanting.labels:
                self._ask(wanting, wanting.labels - entered, now)
        except Exception as error:
            if is_outage(error):
                raise
            # What one rollout's samples do must not keep the others waiting.
            _log.exception("disagreements.failed rollout=%s", rollout_id)
            return 0
        return entered

    def _choose(self, wanting: _Wanting, now: datetime) -> int:
        """Let what devices named enter the queue."""
        rollout = wanting.rollout
        with self._database.read() as connection:
            asked = nominations.of_asker(connection, rollout.id)
            known = disagreements.inputs(connection, rollout.id)
        if not any(one.samples for one in asked):
            return 0
        with self._database.read_telemetry() as connection:
            found = samples.of_nominations(connection, [one.id for one in asked])
        fresh = [
            (one, said)
            for one in {(one.device_id, one.input_id): one for one in found}.values()
            if (one.device_id, one.input_id) not in known and (said := self._said(wanting, one)) is not None
        ]
        order = np.random.default_rng(_seed(rollout)).permutation(len(fresh))[: wanting.labels]
        if not len(order):
            return 0
        with self._database.write() as connection:
            position = disagreements.sent(connection, rollout.id)
            chosen = [fresh[int(place)] for place in order]
            items = [_item(rollout, *one, position + number, now) for number, one in enumerate(chosen)]
            label_queue.add(connection, items)
        return len(items)

    def _said(self, wanting: _Wanting, sample: Sample) -> tuple[str, str] | None:
        """The classes that the new and the old model said; None = they do not disagree, or are not known."""
        incumbent = wanting.incumbents.get(sample.device_id)
        if sample.shadow_answer is None or incumbent is None:
            return None
        names = [
            () if artifact is None else artifact.manifest.output.labels
            for artifact in (self._artifacts.get(sample.digest), self._artifacts.get(incumbent))
        ]
        places = [int(sample.answer), int(sample.shadow_answer)]
        if not all(0 <= place < len(known) for place, known in zip(places, names, strict=True)):
            return None
        new, old = (known[place] for place, known in zip(places, names, strict=True))
        return None if new == old else (new, old)

    def _ask(self, wanting: _Wanting, labels: int, now: datetime) -> None:
        """Ask devices for more, unless one that was asked can still answer."""
        rollout = wanting.rollout
        with self._database.write() as connection:
            asked = nominations.of_asker(connection, rollout.id)
            if any(_is_awaited(one, now) for one in asked):
                return
            random = np.random.default_rng([_seed(rollout), len(asked)])
            shares = asked_of(wanting.differing, labels, random)
            for number, (device_id, count) in enumerate(shares.items()):
                # Ids sort by time, and many share this one: each gets a microsecond of its own.
                at = now + timedelta(microseconds=number)
                one = nominations.add(
                    connection,
                    asker=rollout.id,
                    device_id=device_id,
                    deployment=rollout.deployment,
                    digest=rollout.digest,
                    count=count,
                    now=at,
                )
                _post(connection, rollout, one, seed=_seed(rollout) + len(asked), now=now)


def wants_labels(health: Health) -> bool:
    """Whether who is right where both models differ is what is missing."""
    findings = health.evidence.get("findings", ())
    return isinstance(health, Undecided) and any(
        one["kind"] == Kind.ANSWERS and one["sign"] == Sign.OPEN for one in findings
    )


def _wanting(connection: Connection, rollout_id: str, now: datetime) -> _Wanting | None:
    rollout = rollouts.get(connection, rollout_id)
    if rollout is None or rollout.policy.health.labels == 0:
        return None
    wave = rollouts.get_wave(connection, rollout.id, rollout.wave)
    if wave.has_passed or not wave.committed or wave.ended < wave.offered:
        return None
    model = models.get(connection, rollout.model)
    if model is not None and Task(model.task) is not Task.CLASSIFICATION:
        return None  # there are labels for classes alone
    if not wants_labels(health_of(connection, rollout, wave, now)):
        return None
    shown = evidence.shown_in(connection, rollout.id, wave.position, limit=_DEVICES)
    differing = {
        device_id: disagreements_in(Task.CLASSIFICATION, shows.health.pairs.cells) for device_id, shows in shown.items()
    }
    labels = wanted_labels(
        policy=rollout.policy.health.labels,
        seen=sum(differing.values()),
        sent=disagreements.sent(connection, rollout.id, wave=wave.position),
    )
    incumbents = {device_id: shows.incumbent for device_id, shows in shown.items() if shows.incumbent is not None}
    return _Wanting(rollout, wave, differing, incumbents, labels) if labels else None


def _is_awaited(one: Nomination, now: datetime) -> bool:
    if one.answered_at is None:
        return now < one.asked_at + limits.NOMINATION_TIMEOUT
    return now < one.answered_at + (_AGAIN_AFTER if one.samples else _AGAIN_AFTER_NONE)


def _post(connection: Connection, rollout: Rollout, one: Nomination, *, seed: int, now: datetime) -> None:
    request = Nominate(
        deployment=rollout.deployment,
        digest=rollout.digest,
        count=one.count,
        random_share=0.0,
        seed=seed,
        disagreements=True,
    )
    body = encode(Command(command=one.id, request=request))
    outbox.post(connection, one.device_id, DownKind.COMMAND, body=body, now=now)


def _item(rollout: Rollout, sample: Sample, said: tuple[str, str], position: int, now: datetime) -> Item:
    return Item(
        sample_id=sample.id,
        model=rollout.model,
        asker=rollout.id,
        device_id=sample.device_id,
        deployment=sample.deployment,
        input_id=sample.input_id,
        position=position,
        # Not of all inputs, but of those on which the models differ.
        by_chance=False,
        requested_at=now,
        new_answer=said[0],
        old_answer=said[1],
    )


def _seed(rollout: Rollout) -> int:
    """The same for a rollout whenever it is asked, so that what was drawn can be drawn again."""
    return zlib.crc32(rollout.id.encode())
