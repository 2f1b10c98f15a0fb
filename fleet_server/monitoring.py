"""Monitoring: turns stored windows into findings of drift.

For each model file and deployment that devices run it keeps their newest windows, puts them side by side
(`edgeops.drift.rounds`), lets `edgeops.drift` judge the group and each device against its siblings, and writes down
what is new (`fleet_server.db.findings`). Only LIVE windows count: in TRIAL a model answers a handful of inputs to prove
that it runs, and until it commits it is not what the fleet relies on. Removed and quarantined devices are left out, and
so is a device as soon as it reports another model.

What was judged is in the database; this module remembers only what it need not read twice, so it may be killed
anywhere. It starts no retraining: that is `fleet_server.retraining`, which hears of findings by their events.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from edgeops import limits
from edgeops.artifact.manifest import Manifest
from edgeops.drift.finding import Finding, FleetFinding
from edgeops.drift.performance import mean_error_of
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.rounds import Round, align, per_device
from edgeops.drift.spells import Spell, Step, next_step
from edgeops.drift.verdict import judge_fleet
from edgeops.sketch.reference import ReferenceProfile
from fleet_server.artifacts import Artifacts
from fleet_server.db import devices, events, findings, models
from fleet_server.db.database import Connection, Database, is_outage
from fleet_server.db.findings import FLEET, Stream
from fleet_server.live_windows import LiveWindows

#: Who runs what is read again when `events` has news, which large fleets always make, so not at every turn; and after
#: the second span in any case.
_ROSTER_REST = timedelta(seconds=2)
_ROSTER_LIFE = timedelta(minutes=1)
#: Everything is read again after this, whatever the clock did meanwhile.
_MEMORY_LIFE = timedelta(minutes=10)
#: Of rounds that came at once so many are judged one by one, the newest.
_CATCH_UP_ROUNDS = 8

_log = logging.getLogger(__name__)


def running_streams(connection: Connection) -> dict[Stream, frozenset[str]]:
    """What the fleet runs now, and the devices that do: believed ones, by what they reported last.

    Left out are models that were never published here.
    """
    members: dict[tuple[str, str], set[str]] = defaultdict(set)
    after: str | None = None
    while page := devices.page(connection, after=after, limit=1_000):
        after = page[-1].id
        for device in page:
            if device.quarantined or device.reported is None:
                continue
            for one in device.reported.deployments:
                if one.active is not None:
                    members[one.active, one.deployment].add(device.id)
    streams: dict[Stream, frozenset[str]] = {}
    for digest, deployment in sorted(members):
        artifact = models.artifact_by_digest(connection, digest)
        if artifact is not None and artifact.published_at is not None:
            stream = Stream(artifact.model, artifact.version, digest, deployment)
            streams[stream] = frozenset(members[digest, deployment])
    return streams


class Monitoring:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, database: Database, artifacts: Artifacts, policy: DriftPolicy | None = None) -> None:
        self._database = database
        self._artifacts = artifacts
        self._policy = policy or DriftPolicy()
        self._roster = _Roster(datetime.min.replace(tzinfo=UTC), -1, {})
        self._remembers_since: datetime | None = None
        self._groups: dict[Stream, _Group] = {}

    def run_once(self, now: datetime) -> int:
        """Judge every stream in which something new is to be judged; how many were."""
        since = self._remembers_since
        if since is None or not since <= now < since + _MEMORY_LIFE:
            self._groups.clear()
            self._remembers_since = now
        streams = self._running(now)
        for stream in self._groups.keys() - streams.keys():
            del self._groups[stream]
        return sum(self._judge(stream, members, now) for stream, members in streams.items())

    def judge_model(self, model: str, now: datetime) -> int:
        """Judge every window of one model that came, without waiting for more; how many streams could be."""
        streams = self._running(now)
        own = {stream: members for stream, members in streams.items() if stream.model == model}
        return sum(self._judge(stream, members, now, wait=False) for stream, members in own.items())

    def _running(self, now: datetime) -> Mapping[Stream, frozenset[str]]:
        roster = self._roster
        if not roster.read_at <= now < roster.read_at + _ROSTER_REST:
            with self._database.read() as connection:
                last_event = events.last_id(connection)
                if roster.last_event != last_event or not roster.read_at <= now < roster.read_at + _ROSTER_LIFE:
                    self._roster = _Roster(now, last_event, running_streams(connection))
        return self._roster.streams

    def _judge(self, stream: Stream, members: frozenset[str], now: datetime, *, wait: bool = True) -> bool:
        group = self._groups.get(stream) or self._open(stream)
        if group is None:
            return False
        try:
            with self._database.read_telemetry() as connection:
                judgements = group.judge(connection, members, now, wait=wait)
            if judgements:
                self._record(stream, judgements, now, heard_at=group.heard_at)
        except Exception as error:
            if is_outage(error):
                # What was not read or written down is judged again, from the beginning.
                self._groups.pop(stream, None)
                raise
            # What one model's windows do must not end the turn of the others.
            _log.exception("monitoring.stream-failed model=%s deployment=%s", stream.model, stream.deployment)
            return False
        return bool(judgements)

    def _open(self, stream: Stream) -> "_Group | None":
        """A group that remembers nothing yet; None where the model watches nothing, or lies on another server."""
        artifact = self._artifacts.get(stream.digest)
        if artifact is None or artifact.reference is None:
            return None
        with self._database.read() as connection:
            row = models.artifact_by_digest(connection, stream.digest)
            last = findings.newest(connection, stream)
        assert row is not None, "a stream is made of an artifact that is known here"
        windows = LiveWindows(stream, since=row.created_at, channels=len(artifact.reference.channels))
        self._groups[stream] = group = _Group(
            windows,
            artifact.reference,
            artifact.manifest,
            self._policy,
            judged_until=None if last is None else last.seen_until,
        )
        return group

    def _record(
        self, stream: Stream, judgements: Sequence["_Judgement"], now: datetime, *, heard_at: datetime | None
    ) -> None:
        """Write down what is news; what a restart judges again is not."""
        with self._database.read() as connection:
            running = {one.device_id: one.spell for one in findings.newest_of_all(connection, stream)}
        known = {
            device_id for device_id, spell in running.items() if heard_at is not None and heard_at <= spell.last_at
        }
        for judgement in judgements:
            news: dict[str, Finding] = {}
            for device_id, finding in ({FLEET: judgement.found.fleet} | dict(judgement.found.local)).items():
                step = next_step(running.get(device_id), finding, is_local=device_id != FLEET, now=now)
                if step is Step.BEGIN or (step is Step.REFRESH and device_id not in known):
                    news[device_id] = finding
            if not news:
                continue
            with self._database.write() as connection:
                for device_id, finding in news.items():
                    began = findings.record(
                        connection, stream, device_id, finding, now, seen_until=judgement.seen_until
                    )
                    if began is not None:
                        running[device_id] = began.spell
                        _log.info("drift.judged %s %s device=%s", began.id, finding.verdict, device_id or "all")


@dataclass(frozen=True, slots=True)
class _Roster:
    """Who ran what at a moment."""

    read_at: datetime
    last_event: int
    streams: Mapping[Stream, frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What was found with one more round."""

    found: FleetFinding
    #: When the newest window closed that it rests on.
    seen_until: datetime


class _Group:
    """One stream's windows, and up to where they were judged."""

    def __init__(
        self,
        windows: LiveWindows,
        reference: ReferenceProfile,
        manifest: Manifest,
        policy: DriftPolicy,
        *,
        judged_until: datetime | None,
    ) -> None:
        """`judged_until` is when the newest window closed that was judged before this group was opened."""
        self._windows = windows
        self._reference = reference
        self._channels = manifest.channels
        self._mean_error = mean_error_of(manifest)
        self._policy = policy
        self._judged_until = judged_until
        #: What was judged last, and when.
        self._judged: list[tuple[datetime, int]] = []
        self._judged_at: datetime | None = None
        #: When there is something to look at although no window came; None = never.
        self._look_at: datetime | None = None

    @property
    def heard_at(self) -> datetime | None:
        """When the newest window came that a judgement can rest on."""
        return self._windows.heard_at

    def judge(
        self, connection: Connection, members: frozenset[str], now: datetime, *, wait: bool
    ) -> Sequence[_Judgement]:
        """What the rounds say, with each new one in turn; nothing when that was said already, or there are none.

        Rounds that come at once are judged one after the other, so that a look that comes late finds the same as many
        looks, above all where the world was last as it had been. The open round counts when it need not `wait` for
        those that are missing, if only half of the devices are in it.

        Raises:
            MessageError: sketches that do not fit together.
        """
        changed = self._windows.catch_up(connection, members, now)
        if not changed and (self._look_at is None or now < self._look_at):
            return ()
        alignment = align(self._windows.windows, members, now=now)
        self._look_at = alignment.closes_at
        rounds = alignment.closed
        if not wait and alignment.open is not None and alignment.closes_at is not None:
            rounds = (*rounds, alignment.open)
        rounds = rounds[-self._policy.horizon_windows :]
        if not self._are_due(rounds, now):
            return ()
        fresh = self._fresh(rounds)
        self._judged, self._judged_at = _contents(rounds), now
        in_turn = [self._judge_to(rounds[: len(rounds) - later]) for later in reversed(range(fresh))]
        return _last_of_each(in_turn, now)

    def _judge_to(self, rounds: Sequence[Round]) -> _Judgement:
        heard = {device_id for round_ in rounds for device_id in round_.windows}
        sketches = per_device(rounds, heard, channels=len(self._reference.channels))
        found = judge_fleet(
            self._reference, sketches, self._policy, channels=self._channels, mean_error=self._mean_error
        )
        return _Judgement(found, max(map(_closed_at, rounds)))

    def _fresh(self, rounds: Sequence[Round]) -> int:
        """How many rounds at the end are to be judged one by one: those behind the last one that was."""
        if self._judged:
            new = sum(round_.opened_at > self._judged[-1][0] for round_ in rounds)
        else:
            until = self._judged_until
            new = sum(until is None or _closed_at(round_) > until for round_ in rounds)
        return max(1, min(new, _CATCH_UP_ROUNDS))

    def _are_due(self, rounds: Sequence[Round], now: datetime) -> bool:
        """Whether they hold something new; windows that come late change older rounds, which has a moment's time."""
        contents = _contents(rounds)
        if not rounds or contents == self._judged:
            return False
        if self._judged_at is None or not self._judged or contents[-1] != self._judged[-1]:
            return True
        again_at = self._judged_at + limits.FINDING_REFRESH_AFTER
        if now < again_at:
            self._look_at = again_at if self._look_at is None else min(self._look_at, again_at)
        return now >= again_at


def _last_of_each(judgements: Sequence[_Judgement], now: datetime) -> Sequence[_Judgement]:
    """Of judgements of a fleet that say the same in a row the last, which knows most."""
    by_story = groupby(judgements, lambda one: Spell.of(one.found.fleet, first_at=now, last_at=now).story)
    return [list(same)[-1] for _, same in by_story]


def _closed_at(round_: Round) -> datetime:
    """When its newest window closed."""
    return max(own[-1].closed_at for own in round_.windows.values())


def _contents(rounds: Iterable[Round]) -> list[tuple[datetime, int]]:
    """Enough of the rounds to tell whether one changed."""
    return [(round_.opened_at, sum(map(len, round_.windows.values()))) for round_ in rounds]
