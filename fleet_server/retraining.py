"""Retraining: turns what fired into a healed fleet, one persisted step at a time.

For each open retraining it looks what happened (`retraining_news`), takes the step that `edgeops.learning.retraining`
allows, and saves it with its command (`retraining_steps`) in one transaction. It looks at what is true now, not at what
was news: so it may be killed anywhere, repeats nothing and misses nothing, and needs no cursor; `events` only tell it
when to look. It trains, signs and sends nothing: jobs, people and the link do.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgeops import limits
from edgeops.errors import ArtifactError, NotFoundError, PlatformError
from edgeops.learning.retraining import OPEN, RESUME, Happened, RetrainingEvent, RetrainingState
from edgeops.learning.triggers import Answer
from edgeops.model.model import Model
from fleet_server.blobs import Blobs
from fleet_server.choosing import choose_samples
from fleet_server.db import events, nominations, policies, retrainings, samples
from fleet_server.db.database import Connection, Database, is_outage
from fleet_server.db.events import EventKind
from fleet_server.db.retrainings import Retraining
from fleet_server.db.samples import Sample
from fleet_server.retraining_firing import fire, is_due
from fleet_server.retraining_news import look, result_of, words
from fleet_server.retraining_steps import advance, carry_out, is_done

#: The events after which something may have happened to a retraining.
KINDS = (
    EventKind.DRIFT_JUDGED,
    EventKind.NOMINATION_ANSWERED,
    EventKind.LABEL_RECEIVED,
    EventKind.RETRAINING_CHANGED,
    EventKind.JOB_CHANGED,
    EventKind.MODEL_PUBLISHED,
    EventKind.ROLLOUT_CHANGED,
    EventKind.DEVICE_STATUS,
)
#: How often it looks although there is no news: deadlines, and devices that do not answer.
_TICK = timedelta(seconds=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be done about one retraining."""

    #: The row as it was when this was found.
    retraining: Retraining
    happened: Happened | None
    words: str
    chosen: Sequence[Sample] = ()


class Retrainer:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._seen = 0
        self._next_tick: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Take every step that is due; how many there were."""
        if not self._has_reason(now):
            return 0
        steps = self._fire(now)
        with self._database.read() as connection:
            ids = retrainings.open_ids(connection)
        return steps + sum(self._turn(retraining_id, now) for retraining_id in ids)

    def _has_reason(self, now: datetime) -> bool:
        with self._database.read() as connection:
            newest = events.last_id(connection)
            news = events.after(connection, self._seen, KINDS, limit=1) if newest > self._seen else ()
        self._seen = newest
        if not news and self._next_tick is not None and self._next_tick - _TICK <= now < self._next_tick:
            return False
        self._next_tick = now + _TICK
        return True

    def _fire(self, now: datetime) -> int:
        with _told("what fires"):
            with self._database.read() as connection:
                due = is_due(connection, now)
            if due:
                with self._database.write() as connection:
                    return fire(connection, now)
        return 0

    def _turn(self, retraining_id: str, now: datetime) -> bool:
        """One step of one retraining, if one is due."""
        with _told(retraining_id):
            with self._database.read() as connection:
                due = _due(connection, retraining_id, now)
            if due is not None and due.happened is not None and due.happened.event is RetrainingEvent.NOMINATED:
                due = self._choose(due, now)
            if due is None:
                return False
            with self._database.write() as connection:
                # Whoever changed it meanwhile has said so in `events`: it is looked at again.
                if retrainings.get(connection, retraining_id) == due.retraining:
                    _take(connection, due, now)
                    return True
        return False

    def _choose(self, due: _Due, now: datetime) -> _Due | None:
        """Choose among the samples; None while some that were announced are not in the other database yet."""
        retraining, happened = due.retraining, due.happened
        with self._database.read() as connection:
            asked = nominations.of_asker(connection, retraining.id)
        with self._database.read_telemetry() as connection:
            found = samples.of_nominations(connection, [one.id for one in asked])
        counts = Counter(one.nomination for one in found)
        missing = any(counts[one.id] < one.samples for one in asked)
        if missing and now < asked[0].asked_at + limits.NOMINATION_TIMEOUT:
            return None
        policy, chosen = retraining.policy, list[Sample]()
        try:
            model = Model.load(self._blobs.path(retraining.digest))
        except (ArtifactError, NotFoundError, PlatformError) as error:
            nothing = f"the model cannot be asked about the nominated samples: {error}"
        else:
            nothing = "of the nominated samples none arrived that the model can answer"
            chosen = choose_samples(
                model, found, retraining.labels_wanted, random_share=policy.random_share, seed=policy.seed
            )
            model.close()
        if not chosen:
            happened = Happened(RetrainingEvent.NOTHING_NOMINATED, nothing)
        return _Due(retraining, happened, due.words, chosen)


def _due(connection: Connection, retraining_id: str, now: datetime) -> _Due | None:
    retraining = retrainings.get(connection, retraining_id)
    if retraining is None or retraining.state not in OPEN:
        return None
    due = _Due(retraining, look(connection, retraining, now), words(connection, retraining, now))
    resumed = is_done(connection, retraining, RESUME[retraining.state], now)
    if due.happened is None and due.words == retraining.detail and resumed:
        return None
    return due


def _take(connection: Connection, due: _Due, now: datetime) -> None:
    retraining = due.retraining
    if due.happened is None:
        retraining = carry_out(connection, retraining, RESUME[retraining.state], now)
        if retraining.state is due.retraining.state:
            retrainings.save(connection, retraining, now, detail=words(connection, retraining, now))
        return
    if retraining.state is RetrainingState.PROPOSED and due.happened.event is not RetrainingEvent.OVERTAKEN:
        policy = policies.get(connection, retraining.model)
        retraining = retrainings.save(
            connection, retraining, now, decision=Answer.RUN, policy=policy, labels_wanted=policy.labels
        )
    made = result_of(connection, retraining) if retraining.state is RetrainingState.TRAINING else None
    if made is not None:
        retraining = retrainings.save(connection, retraining, now, version=made.version, snapshot=made.snapshot)
    after = advance(connection, retraining, due.happened, now, chosen=due.chosen)
    _log.info("retraining.step id=%s %s -> %s %s", after.id, due.retraining.state, after.state, due.happened.reason)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A bug in one step must not stop every other retraining: its transaction is undone, and it is told.

    Raises:
        Exception: the database itself is locked, full or gone; the step is not to blame and comes again.
    """
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise
        _log.exception("retraining.step-failed %s", what)
